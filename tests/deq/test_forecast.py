"""Forecasts compared with trained trials."""

import dataclasses
import functools
import math
from types import SimpleNamespace

import pytest
import torch
from networks import first_network

from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, SphereConfig, load
from deq.models.memory import memory
from deq.theory.population import population
from deq.theory.rate_fit import window_rate
from deq.theory.rates import LinearDynamics
from deq.training.comparison import train
from deq.training.cost import cost
from deq.training.forecast import forecast, last_half
from deq.training.gradient_descent import GradientDescent
from deq.training.integrator_cost import cold_maps, integrator_cost
from deq.training.trained import Trained

NAMES = ("relu", "tanh")
DATA = load(SphereConfig(n=6, d=6, seed=2))


def config(name="tanh", width=64, steps=120, **model):
    return TrialConfig(
        model=ModelConfig(width=width, activation=name, **model),
        train=TrainConfig(steps=steps),
        solver=SolverConfig(tol=1e-13),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_equals_what_the_trial_records(name):
    """All numbers are equal bit for bit, including rates over equal windows."""
    prediction, outcome = forecast(config(name), DATA), train(config(name), DATA)
    summary, notes = prediction.theory()
    assert notes == {}
    for key, value in summary.items():
        assert outcome.summary[key] == value, key
    window = outcome.summary["rate/window_start"], outcome.summary["rate/window_stop"]
    rates, _ = prediction.rates(*window)
    for key, value in rates.items():
        assert outcome.summary[key] == value, key
    assert rates.keys() == {"rate/linearized", "rate/population"}
    assert outcome.summary["rate/measured_over_linearized"] == pytest.approx(1, abs=0.3)


def test_a_forecast_window_is_the_budgets_last_half():
    prediction = forecast(config(), DATA)
    steps = torch.arange(60, 121, dtype=torch.float64)
    curve = prediction.linearized.log_loss(steps)
    slope = float(torch.linalg.lstsq(torch.stack([steps, steps**0], 1), curve[:, None])[0][0])
    assert prediction.rates(*last_half(120))[0]["rate/linearized"] == pytest.approx(
        -slope, rel=1e-3
    )
    # A long budget is thinned; by then the slowest mode alone is left.
    late = prediction.rates(*last_half(10**6))[0]["rate/linearized"]
    assert late == pytest.approx(prediction.theory()[0]["rate/asymptotic"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sigma_a", [1.0, 0.3])
def test_the_population_curve_is_the_mean_over_wide_networks(name, sigma_a):
    """96 networks of width 384: mean loss within 4 standard errors at step 0, the mean of
    the linearised loss within 15 % where it has fallen a hundredfold, and its rate over
    the second half of that within 6 %.
    """
    base = config(name, width=384)
    initials = [tangent_and_error(base, seed, sigma_a) for seed in range(96)]
    limit = population(DATA.x, name, sigma_w2=0.08, sigma_a=sigma_a)
    eta = 1 / float(torch.linalg.eigvalsh(limit.tangent(384))[-1])
    ours = LinearDynamics.of_population(limit, DATA.y, 384, sigma_a, eta)
    steps = torch.arange(40, dtype=torch.float64)
    expected = ours.log_loss(steps)
    stop = int((expected < expected[0] - math.log(100)).nonzero()[0])
    curves = torch.stack([LinearDynamics.of_network(i, eta).log_loss(steps) for i in initials])
    losses = curves.exp()
    error = float(losses[:, 0].std()) / math.sqrt(96)
    assert abs(float(losses[:, 0].mean()) - math.exp(expected[0])) < 4 * error
    assert float(losses[:, stop].mean()) == pytest.approx(math.exp(expected[stop]), rel=0.15)
    mean = losses.mean(0).log()
    rate = window_rate(steps, expected, stop // 2, stop)
    assert window_rate(steps, mean, stop // 2, stop) == pytest.approx(rate, rel=0.06)


@functools.cache
def drawn(model, seed):
    return first_network(model, seed, 6)


def tangent_and_error(trial, seed, sigma_a):
    """H(0) and e(0) of a network whose output weights are scaled by sigma_a."""
    w, u, a = drawn(trial.model, seed)
    network = Trained(trial, w, u, sigma_a * a)
    return SimpleNamespace(tangent=network.tangent(DATA.x), error=network.predict(DATA.x) - DATA.y)


def test_population_rates_need_no_network():
    """Equal for all seeds if the step size is."""
    trials = [
        dataclasses.replace(config(), train=TrainConfig(eta_unit="population"), seed=seed)
        for seed in range(2)
    ]
    first, second = (forecast(trial, DATA) for trial in trials)
    ours, theirs = first.theory()[0], second.theory()[0]
    for key in ("rate/population_bound", "rate/population_asymptotic"):
        assert ours[key] == theirs[key]
    assert ours["rate/bound"] != theirs["rate/bound"]
    a, b = first.rates(250, 500)[0], second.rates(250, 500)[0]
    assert a["rate/population"] == b["rate/population"]
    assert a["rate/linearized"] != b["rate/linearized"]
    bound = -math.log(1 - first.eta * 64 * first.limit.lambda_star / 2)
    assert ours["rate/population_bound"] == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tol", [1e-6, 1e-12])
def test_cold_maps_are_what_the_solver_takes_at_step_0(name, tol):
    """Within three maps, of the equilibrium and of the adjoint, at width 256."""
    trial = dataclasses.replace(config(name, width=256), solver=SolverConfig(tol=tol))
    descent = GradientDescent([trial], [DATA])
    next(iter(descent))
    row = descent.runs[0].rows[0]
    guess = cold_maps(forecast(trial, DATA).contraction, tol)
    assert abs(row["forward_steps"] - guess) <= 3
    assert abs(row["adjoint_steps"] - guess) <= 3


def test_the_cost_brackets_the_products_of_a_trial():
    trial = dataclasses.replace(config(width=128), solver=SolverConfig(tol=1e-8))
    outcome = train(trial, DATA)
    products = outcome.trajectory["forward_steps"] + outcome.trajectory["adjoint_steps"] + 1
    spent = cost(forecast(trial, DATA))
    flop = float(products.sum()) * 2 * 128**2 * 6
    assert spent.flop_floor < flop < spent.flop_cold
    assert spent.flop_floor == 3 * 121 * 2 * 128**2 * 6
    assert spent.bytes == memory(trial, *DATA.x.shape)


def test_no_recurrence_is_solved_by_two_maps():
    trial = config(sigma_w2=0.0)
    descent = GradientDescent([trial], [DATA])
    next(iter(descent))
    assert descent.runs[0].rows[0]["forward_steps"] <= cold_maps(0.0, 1e-13) == 2


def test_missing_numbers_have_a_reason():
    loose = config("relu", width=8, sigma_w2=0.2, allow_ill_posed=True)
    prediction = forecast(dataclasses.replace(loose, solver=SolverConfig(max_steps=5000)), DATA)
    summary, notes = prediction.theory()
    assert "no delta" in notes["theory/slack"]
    assert summary["theory/condition_held"] == 0
    wild = dataclasses.replace(config(), train=TrainConfig(eta=1e6, eta_unit="absolute"))
    _, notes = forecast(wild, DATA).theory()
    assert "eta lambda_0 / 2" in notes["rate/bound"]
    assert "does not decay" in notes["rate/asymptotic"]
    rates, notes = forecast(config(steps=1), DATA).rates(*last_half(1))
    assert rates == {}
    assert "too few" in notes["rate/linearized"]
    nowhere = config("relu", sigma_w2=5.0, allow_ill_posed=True)
    with pytest.raises(ValueError, match="the equilibrium at step 0"):
        forecast(nowhere, DATA)


def test_the_error_of_lambda_star_is_recorded_also_where_it_is_unresolved():
    """The identity's K has rank d = 6: with seven samples lambda_star is rounding."""
    data = load(SphereConfig(n=7, d=6, seed=3))
    summary, notes = forecast(config("identity"), data).theory()
    assert "theory/lambda_star" not in summary
    assert 0 < summary["theory/lambda_star_error"] < 1e-11
    assert "10 times its error bound" in notes["theory/lambda_star"]
    summary, _ = forecast(config("identity"), load(SphereConfig(n=5, d=6, seed=3))).theory()
    assert summary["theory/lambda_star"] > 1e9 * summary["theory/lambda_star_error"]


def test_a_least_eigenvalue_that_is_rounding_gives_no_bound():
    """Width 4 and six samples: G(0) is singular, its least eigenvalue has either sign."""
    for seed in range(4):
        trial = dataclasses.replace(config(width=4, steps=5), seed=seed)
        outcome = train(trial, DATA)
        for key in ("rate/bound", "theory/lambda_held", "theory/bound_held"):
            assert key not in outcome.summary
            assert outcome.notes[key]
        assert "rounding" in outcome.notes["rate/bound"]


@pytest.mark.parametrize(("name", "steps"), [("tanh", 400), ("sigmoid", 1500)])
def test_the_cost_of_both_integrators_is_near_what_a_trial_takes(name, steps):
    """The formulas are within 9 and 32 percent of the runs that they were fitted to."""
    trial = TrialConfig(
        data=DigitsConfig(n=32),
        model=ModelConfig(width=256, activation=name),
        train=TrainConfig(steps, integrator="windows"),
    )
    guess = integrator_cost(trial, 32)
    taken = train(trial).summary["solver/products_total"]
    assert guess.windows == pytest.approx(taken, rel=0.35)
    assert guess.advice == "windows"
    single = dataclasses.replace(trial, train=TrainConfig(steps=200))
    taken = train(single).summary["solver/products_total"]
    assert integrator_cost(single, 32).steps == pytest.approx(taken, rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n", "solver_tol", "sigma_w2"),
    [("relu", 32, 1e-8, 0.08), ("leaky_relu", 16, 1e-6, 0.08), ("relu", 24, 1e-10, 0.03)],
)
def test_the_estimate_of_products_with_a_kink_is_right_to_a_factor(name, n, solver_tol, sigma_w2):
    """A kinked step depends on solver.tol; the estimate is within the range of docs/windows.md."""
    trial = TrialConfig(
        data=DigitsConfig(n=n),
        model=ModelConfig(128, name, sigma_w2),
        train=TrainConfig(300, integrator="windows"),
        solver=SolverConfig(tol=solver_tol),
    )
    guess = integrator_cost(trial, n)
    windows = train(trial).summary["solver/products_total"]
    single = dataclasses.replace(trial, train=TrainConfig(300))
    steps = train(single).summary["solver/products_total"]
    assert 0.5 < guess.windows / windows < 2
    assert 0.6 < guess.steps / steps < 1.7


def test_windows_of_an_activation_that_is_not_analytic_are_estimated_three_times_as_dear(
    tmp_path, monkeypatch
):
    """Softsign as in docs/how-to/activation.md; a built-in phi with the same constants is tanh."""
    (tmp_path / "rough_phi.py").write_text(
        "import deq\n"
        "softsign = deq.Activation(name='softsign', function=lambda x: x / (1 + x.abs()),"
        " derivative=lambda x: (1 + x.abs()) ** -2, lipschitz=1.0, curvature=2.0, at_zero=0.0,"
        " smooth=False, bounded=1.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    data, steps = DigitsConfig(n=24), TrainConfig(1500, integrator="windows")
    rough, smooth = (
        TrialConfig(data=data, model=ModelConfig(160, name), train=steps)
        for name in ("rough_phi:softsign", "tanh")
    )
    guess = integrator_cost(rough, 24)
    assert guess.windows == pytest.approx(3 * integrator_cost(smooth, 24).windows)
    assert 0.5 < guess.windows / train(rough).summary["solver/products_total"] < 2


def test_windows_are_advised_in_float64_only():
    """In float32 rounding ends windows early, after steps that no formula knows."""
    train = TrainConfig(20_000)
    trials = [
        TrialConfig(
            model=ModelConfig(256, "tanh"), train=train, solver=SolverConfig(tol=1e-6), dtype=dtype
        )
        for dtype in ("float32", "float64")
    ]
    assert [integrator_cost(trial, 32).advice for trial in trials] == ["steps", "windows"]


def test_windows_have_a_cost_where_they_can_be_used_and_at_most_a_quarter_more():
    smooth = TrialConfig(model=ModelConfig(256, "tanh"), train=TrainConfig(steps=5))
    guess = integrator_cost(smooth, 64)
    assert guess.windows == 1.25 * guess.steps
    assert guess.advice == "steps"
    kinked = dataclasses.replace(smooth, model=ModelConfig(256, "relu"))
    other = dataclasses.replace(smooth, solver=SolverConfig("anderson"))
    assert integrator_cost(kinked, 64).windows <= 1.25 * integrator_cost(kinked, 64).steps
    assert integrator_cost(other, 64).windows is None
    long = dataclasses.replace(smooth, train=TrainConfig(steps=10_000))
    longer = dataclasses.replace(smooth, train=TrainConfig(steps=1_000_000))
    costs = [integrator_cost(trial, 64).windows for trial in (long, longer)]
    assert costs[1] < 2 * costs[0]  # like the logarithm of the steps
