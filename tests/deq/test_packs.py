"""Trials trained in a pack equal the same trials alone."""

import dataclasses
import math

import pytest
from small_trials import DATA, config, finished

from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.training.comparison import compare, train
from deq.training.gradient_descent import GradientDescent
from deq.training.training_run import Status


def test_trials_of_two_shapes_are_refused_as_a_pack():
    other = config(model=ModelConfig(width=13, activation="tanh"))
    with pytest.raises(ValueError, match="one shape"):
        GradientDescent([config(), other], [DATA, DATA])


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float64", 1e155), ("float64", 1e300), ("float32", 1e39)],
)
def test_labels_whose_squares_overflow_end_only_their_own_trial(dtype, size):
    """An infinite loss is no convergence, although inf <= tol * inf."""
    good = config(dtype=dtype, solver=SolverConfig(tol=1e-6))
    large = dataclasses.replace(DATA, y=DATA.y / DATA.y.abs().max() * size)
    descent = finished(GradientDescent([good, good], [large, DATA]))
    lost, other = descent.runs
    assert lost.status is Status.DIVERGED
    assert "scale them" in lost.reason
    alone = train(good)
    assert other.status is alone.status
    assert [row["loss"] for row in other.rows] == pytest.approx(alone.trajectory["loss"].tolist())
    outcome = compare(lost)
    assert "rate/measured" not in outcome.summary
    assert all(math.isfinite(value) for value in outcome.summary.values())


@pytest.mark.slow
def test_a_float64_finish_does_not_depend_on_the_pack():
    solver = SolverConfig(tol=1e-6, finish="float64")
    configs = [
        config(solver=solver, dtype="float32", seed=seed, train=TrainConfig(steps=steps, eta=eta))
        for seed, steps, eta in ((0, 400, 0.9), (1, 300, 0.5), (2, 10, 0.5))
    ]
    packed = finished(GradientDescent(configs, [DATA] * 3))
    for run, one in zip(packed.runs, configs, strict=True):
        alone = finished(GradientDescent([one], [DATA]))
        ours, theirs = run.rows, alone.runs[0].rows
        assert (run.status, len(ours)) == (alone.runs[0].status, len(theirs))
        assert [r["rounding"] for r in ours] == [r["rounding"] for r in theirs]
        assert ours[-1]["loss"] == pytest.approx(theirs[-1]["loss"], rel=1e-3)
