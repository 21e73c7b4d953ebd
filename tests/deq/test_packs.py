"""Trials trained in a pack equal the same trials alone."""

import dataclasses
import math

import pytest
from small_trials import DATA, SOME, config

from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.training.comparison import compare, train
from deq.training.course import Status
from deq.training.gradient_descent import Descent


@pytest.mark.parametrize("name", SOME)
def test_a_packed_trial_equals_the_trial_alone(name):
    model = ModelConfig(width=24, activation=name)
    configs = [
        config(model=model, train=TrainConfig(steps=60, eta=eta), seed=seed)
        for seed, eta in ((0, 0.5), (1, 40.0), (2, 0.9))
    ]
    configs[2] = dataclasses.replace(configs[2], train=TrainConfig(steps=60, eta=0.9, loss_tol=0.3))
    descent = Descent(configs, [DATA] * 3)
    for _ in descent:
        pass
    assert len({course.status for course in descent.courses}) == 3
    for course, alone_config in zip(descent.courses, configs, strict=True):
        alone = Descent([alone_config], [DATA])
        for _ in alone:
            pass
        assert course.status is alone.courses[0].status
        assert len(course.rows) == len(alone.courses[0].rows)
        for row, other in zip(course.rows, alone.courses[0].rows, strict=True):
            for key in ("loss", "grad_norm", "norm_w", "lambda_min_tangent"):
                assert row[key] == pytest.approx(other[key], rel=1e-9, nan_ok=True)


def test_trials_of_two_shapes_are_refused_as_a_pack():
    other = config(model=ModelConfig(width=13, activation="tanh"))
    with pytest.raises(ValueError, match="one shape"):
        Descent([config(), other], [DATA, DATA])


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float64", 1e155), ("float64", 1e300), ("float32", 1e39)],
)
def test_labels_whose_squares_overflow_end_only_their_own_trial(dtype, size):
    """An infinite loss is no convergence, although inf <= tol * inf."""
    good = config(dtype=dtype, solver=SolverConfig(tol=1e-6))
    large = dataclasses.replace(DATA, y=DATA.y / DATA.y.abs().max() * size)
    descent = Descent([good, good], [large, DATA])
    for _ in descent:
        pass
    lost, other = descent.courses
    assert lost.status is Status.DIVERGED
    assert "scale them" in lost.reason
    alone = train(good)
    assert other.status is alone.status
    assert [row["loss"] for row in other.rows] == pytest.approx(alone.trajectory["loss"].tolist())
    outcome = compare(lost)
    assert "rate/measured" not in outcome.summary
    assert all(math.isfinite(value) for value in outcome.summary.values())


def test_a_float64_finish_does_not_depend_on_the_pack():
    solver = SolverConfig(tol=1e-6, finish="float64")
    configs = [
        config(solver=solver, dtype="float32", seed=seed, train=TrainConfig(steps=steps, eta=eta))
        for seed, steps, eta in ((0, 400, 0.9), (1, 300, 0.5), (2, 10, 0.5))
    ]
    packed = Descent(configs, [DATA] * 3)
    for _ in packed:
        pass
    for course, one in zip(packed.courses, configs, strict=True):
        alone = Descent([one], [DATA])
        for _ in alone:
            pass
        ours, theirs = course.rows, alone.courses[0].rows
        assert (course.status, len(ours)) == (alone.courses[0].status, len(theirs))
        assert [r["rounding"] for r in ours] == [r["rounding"] for r in theirs]
        assert ours[-1]["loss"] == pytest.approx(theirs[-1]["loss"], rel=1e-3)
