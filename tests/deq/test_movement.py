"""Distance that training moves weights and tangent kernel, and the rates at its end."""

import dataclasses
import math

import pytest
import torch
from small_trials import config, finished

from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.data import DigitsConfig, SphereConfig, load
from deq.data.dataset import Dataset
from deq.theory.rate_fit import end_rates, fit_rate
from deq.theory.rejection_sampling import starting_weights
from deq.training.comparison import compare, train
from deq.training.gradient_descent import GradientDescent


def trained(trial):
    """A trial's run, with its weights, and its outcome."""
    descent = finished(GradientDescent([trial], [load(trial.data)], keep_weights=True))
    return descent.runs[0], compare(descent.runs[0])


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"data": DigitsConfig(n=40), "model": ModelConfig(70, "tanh")},  # pixels that are zero
        {"data": SphereConfig(n=4, d=9), "dtype": "float32", "solver": SolverConfig(tol=1e-6)},
        {"train": TrainConfig(400, integrator="windows")},
    ],
)
def test_the_distance_is_that_of_all_weights(parts):
    trial = config(**parts)
    run, outcome = trained(trial)
    start = starting_weights([trial], [load(trial.data)], torch.device("cpu"))
    now = (run.weights.w, run.weights.u, run.weights.a)
    parts = [(x.double(), x0[0].double()) for x, x0 in zip(now, start, strict=True)]
    moved = math.sqrt(sum(float((x - x0).square().sum()) for x, x0 in parts))
    size = math.sqrt(sum(float(x0.square().sum()) for _, x0 in parts))
    assert moved > 1e-2
    assert outcome.summary["train/distance"] == pytest.approx(moved, rel=1e-5)
    assert outcome.summary["train/distance_relative"] == pytest.approx(moved / size, rel=1e-5)


def test_the_distance_of_a_redrawn_network_is_from_the_one_that_was_accepted():
    model = ModelConfig(64, "leaky_relu", sigma_w2=0.01, sigma_a=0.01, init="redraw")
    trial = config(model=model, seed=4)
    x = load(SphereConfig(n=2, d=3, seed=1)).x
    data = Dataset(x=x, y=torch.tensor([1e-3, -1e-3], dtype=torch.float64))
    start = starting_weights([trial], [data], torch.device("cpu"))
    gaussian = dataclasses.replace(trial, model=dataclasses.replace(model, init="gaussian"))
    first = starting_weights([gaussian], [data], torch.device("cpu"))
    assert not torch.equal(start[0], first[0])  # it was drawn more than once
    run = finished(GradientDescent([trial], [data])).runs[0]
    size = math.sqrt(sum(float(part.square().sum()) for part in start))
    assert run.size == pytest.approx(size, rel=1e-12)
    assert 0 < run.moved < 0.1 * size


def test_the_kernel_drifts_from_step_0_in_every_dtype_that_a_trial_continues_in():
    trial = config(
        train=TrainConfig(steps=300, eta=0.9),
        dtype="float32",
        solver=SolverConfig(tol=1e-6, finish="float64"),
    )
    run, outcome = trained(trial)
    assert {row["rounding"] for row in run.rows} == {2.0**-23, 2.0**-52}
    right = train(dataclasses.replace(trial, dtype="float64", solver=SolverConfig(tol=1e-13)))
    ours, theirs = outcome.trajectory["kernel_drift"], right.trajectory["kernel_drift"]
    assert float(ours[0]) == 0
    both = ours.isfinite() & theirs.isfinite()
    assert int(both.sum()) > 3
    torch.testing.assert_close(ours[both], theirs[both], rtol=1e-3, atol=1e-6)
    assert outcome.summary["theory/kernel_drift"] == float(ours[ours.isfinite()][-1])


def test_a_long_run_ends_at_the_rate_of_the_slowest_mode_of_its_own_kernel():
    trial = config(
        data=DigitsConfig(n=12),
        model=ModelConfig(64, "tanh"),
        train=TrainConfig(100_000, integrator="windows"),
    )
    outcome = train(trial)
    summary = outcome.summary
    assert outcome.status == "converged"
    assert summary["rate/measured_end_over_asymptotic"] == pytest.approx(1, abs=0.02)
    assert abs(summary["rate/measured_end"] / summary["rate/asymptotic"] - 1) > 0.02  # not H(0)'s
    # The prediction that needs no network is a column of its own.
    population = outcome.trajectory["log_loss_population"]
    assert bool(population.isfinite().all())
    steps, rate = outcome.trajectory["step"], summary["rate/population_asymptotic"]
    slope = (population[-2] - population[-1]) / (steps[-1] - steps[-2])
    assert float(slope) == pytest.approx(rate, rel=1e-2)


def test_the_end_is_the_last_tenth_above_the_floor():
    steps = torch.arange(2001, dtype=torch.float64)
    log_loss = torch.where(steps < 1500, -0.01 * steps, -15 - 0.02 * (steps - 1500))
    least = torch.full_like(steps, torch.nan)
    least[[0, 1990]] = torch.tensor([5.0, 0.1], dtype=torch.float64)
    trajectory = {"step": steps, "loss": log_loss.exp(), "lambda_min_tangent": least}
    fit = fit_rate(steps, log_loss, torch.full_like(steps, -100.0))
    rates, missing = end_rates(0.1, trajectory, fit)
    assert not missing
    assert rates["rate/measured_end"] == pytest.approx(0.02)
    assert rates["rate/asymptotic_end"] == pytest.approx(-2 * math.log(0.99))
    # For more samples than weights lambda_min(H) is 0: nothing is divided by its rounding.
    for rounded, rounding in ((-0.1, 0.0), (1e-14, 1e-13)):
        least[1990] = rounded
        rates, missing = end_rates(0.1, trajectory, fit, rounding=rounding)
        assert list(rates) == ["rate/measured_end"]
        assert rates["rate/measured_end"] == pytest.approx(0.02)
        assert "rounding" in missing["rate/asymptotic_end"]


def test_a_linear_network_leaves_its_sphere_by_the_squares_of_its_steps():
    """Gradient descent with explicit inverses: the engine's drift, and the sum of the squares."""
    trial = config(
        data=SphereConfig(n=5, d=7),
        model=ModelConfig(24, "identity"),
        train=TrainConfig(steps=12, eta=0.2),
        solver=SolverConfig(tol=1e-13),
    )
    data, steps = load(trial.data), trial.train.steps
    run, outcome = trained(trial)
    w, u, a = (part[0] for part in starting_weights([trial], [data], torch.device("cpu")))
    eye, grown = torch.eye(24, dtype=torch.float64), 0.0
    first = float((eye - w).square().sum() + u.square().sum())
    for _ in range(steps):
        inverse = torch.linalg.inv(eye - w)
        z = inverse @ u @ data.x
        e = a @ z - data.y
        v = inverse.T @ a[:, None] * e
        changes = run.eta * v @ z.T, run.eta * v @ data.x.T, run.eta * (z @ e)
        grown += sum(float(change.square().sum()) for change in changes[:2])
        w, u, a = (part - change for part, change in zip((w, u, a), changes, strict=True))
    last = float((eye - w).square().sum() + u.square().sum())
    assert grown > 1e-4 * first
    assert last - first == pytest.approx(grown, rel=1e-9)
    assert outcome.summary["theory/sphere_drift"] == pytest.approx(last / first - 1, rel=1e-8)
