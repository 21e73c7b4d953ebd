"""Closed-form rates, and fits to trajectories with a known rate."""

import math

import pytest
import torch

from deq.config import ModelConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.theory.rate_fit import MIN_POINTS, STARTS, fit_rate, window_rate
from deq.theory.rates import LinearDynamics, asymptotic_rate, bound_rate, effective_eigenvalue
from deq.training.comparison import compare, train
from deq.training.forecast import forecast
from deq.training.training_run import Status, TrainingRun, blank_row

NEVER = -1e9  # a floor no loss touches


def steps(count):
    return torch.arange(count, dtype=torch.float64)


def fit(y, floor=NEVER):
    return fit_rate(steps(len(y)), y, torch.full_like(y, floor))


def noise(count, correlation, generator):
    """AR(1) of variance 1."""
    w = torch.randn(count, dtype=torch.float64, generator=generator)
    x = w.clone()
    for t in range(1, count):
        x[t] = correlation * x[t - 1] + math.sqrt(1 - correlation**2) * w[t]
    return x


def exponential(rate, floor, count, bend):
    """Two modes, the fast one 20 times as fast, above a noisy floor."""
    t = steps(count)
    loss = torch.exp(-rate * t) + bend * torch.exp(-20 * rate * t)
    jitter = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.log(loss + floor * (1 + 0.1 * jitter).abs())


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("bend", [0.0, 5.0])
def test_a_known_rate_is_found_above_the_floor(rate, bend):
    """Within 1 percent and three standard errors."""
    y = exponential(rate, 1e-18, int(max(400, 4 / rate)), bend)
    result = fit(y, math.log(1e-16))
    assert result.rate == pytest.approx(rate, rel=0.01)
    assert abs(result.rate - rate) <= 3 * result.stderr
    assert result.stderr < 0.01 * rate
    assert result.r2 > 0.99
    assert y[result.stop] > math.log(1e-16)


@pytest.mark.parametrize("count", [40, 41, 400])
def test_the_rate_of_a_straight_line_is_its_slope(count):
    result = fit(3 - 0.1 * steps(count))
    assert result.rate == pytest.approx(0.1, rel=1e-13)
    assert abs(result.rate - 0.1) <= 3 * result.stderr < 1e-13
    assert result.oscillation < 1e-13
    assert result.start == math.ceil((count - 1) / 2)
    assert result.stop == count - 1


KINDS = {
    "white": (0.0, 0.0, 0.0),
    "correlated 0.5": (0.5, 0.0, 0.0),
    "correlated 0.8": (0.8, 0.0, 0.0),
    "alternating": (0.0, 0.5, 0.0),
    "curved": (0.0, 0.0, 2e-5),
    "curved, correlated, alternating": (0.5, 0.3, 2e-5),
}


@pytest.mark.slow
@pytest.mark.parametrize("count", [200, 600])
@pytest.mark.parametrize("kind", KINDS)
def test_three_standard_errors_cover_the_truth(kind, count):
    """In at least 97 % of 200 trajectories, with errors no wider than they need to be.

    The truth is the mean local slope over the fit's window. The median standard error is
    within 0.7 and 1.5 of the errors' root mean square, or, where the slope changes, within
    1.5 of that and the slope's standard deviation over the window together.
    """
    correlation, alternating, curvature = KINDS[kind]
    generator, t, rate = torch.Generator().manual_seed(0), steps(count), 0.05
    errors, stderrs, widths = [], [], []
    for _ in range(200):
        y = -rate * t + 0.1 * noise(count, correlation, generator)
        y = y + alternating * (-1) ** t + curvature / 2 * t**2
        result = fit(y)
        truth = rate - curvature * (result.start + result.stop) / 2
        errors.append(result.rate - truth)
        stderrs.append(result.stderr)
        widths.append(curvature * (result.stop - result.start) / math.sqrt(12))
    e, s = torch.tensor(errors), torch.tensor(stderrs)
    assert float((e.abs() <= 3 * s).double().mean()) >= 0.97
    spread = float((e**2).mean().sqrt())
    assert float(s.median()) > 0.7 * spread
    assert float(s.median()) < 1.5 * math.hypot(spread, sum(widths) / len(widths))


def test_the_error_of_a_curved_loss_is_the_spread_of_its_local_rate():
    """A smooth sum of 60 modes like a training loss: no noise, no single rate.

    The standard error is within 15 % of the local rate's standard deviation, and the local
    rate at both ends of the window within three of them.
    """
    h = torch.logspace(-4, -0.5, 60, dtype=torch.float64)
    y = LinearDynamics(h, 1 / h, 1.0).log_loss(steps(501))
    result = fit(y)
    assert (result.start, result.stop) == (250, 500)
    local = -(y[251:] - y[250:-1])
    assert result.stderr == pytest.approx(float(local.std()), rel=0.15)
    assert result.rate == pytest.approx(float(local.mean()), rel=0.01)
    assert (local[[0, -1]] - result.rate).abs().amax() < 3 * result.stderr


@pytest.mark.parametrize("share", [0.55, 0.6, 0.7])
def test_a_transient_beyond_half_the_run_is_cut_off(share):
    """Twice as steep until after half the run, then straight: within 1 percent."""
    t, rate = steps(401), 0.02
    y = -rate * t - rate * (t.clamp_max(share * 400))
    result = fit(y)
    assert result.rate == pytest.approx(rate, rel=0.01)
    assert abs(result.rate - rate) <= 3 * result.stderr
    assert result.start >= share * 400 - 20
    assert fit(y[:41]).start >= 20  # never so short that noise would decide


def test_a_curve_without_a_straight_part_is_fitted_over_the_last_half():
    t = steps(401)
    assert fit(-2 * t.sqrt()).start == STARTS[0] * 400


@pytest.mark.parametrize("count", [60, 61, 300])
@pytest.mark.parametrize("amplitude", [0.01, 0.5, 3.0])
def test_period_two_does_not_bias_the_rate_and_is_reported(count, amplitude):
    t, rate = steps(count), 0.05
    result = fit(-rate * t + amplitude * (-1) ** t)
    assert result.rate == pytest.approx(rate, rel=1e-10)
    assert result.oscillation == pytest.approx(amplitude, rel=1e-10)
    plain = window_rate(t, -rate * t + amplitude * (-1) ** t, result.start, result.stop)
    assert plain == pytest.approx(rate, rel=1e-10)


def test_a_decaying_period_two_is_not_noise():
    """As near the stability limit: the top mode flips its sign and shrinks slowly."""
    t, rate = steps(300), 0.05
    result = fit(-rate * t + 0.5 * (-0.99) ** t)
    assert result.rate == pytest.approx(rate, rel=1e-3)
    assert abs(result.rate - rate) <= 3 * result.stderr


def test_losses_after_the_floor_are_ignored():
    """Losses that rise above the floor again are noise and do not change the fit."""
    t, floor = steps(400), -20.0
    y = torch.maximum(-0.1 * t, torch.full_like(t, floor - 1))
    y[210::7] = floor + 2
    result = fit(y, floor)
    assert result.stop == 199
    assert result.rate == pytest.approx(0.1, rel=1e-10)


def test_the_fit_excludes_the_floor():
    """A fit over the whole run would be threefold wrong (0.034 for 0.1)."""
    y = torch.log(torch.exp(-0.1 * steps(1200)) + 1e-12)
    assert fit(y, math.log(1e-10)).rate == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("y", "floor", "reason"),
    [
        (0.1 * steps(100), -700, "does not fall"),
        (torch.sin(steps(100)) - 1e-4 * steps(100), -700, "no straight line"),
        (-steps(100), 1000, "at the numerical floor"),
        (-steps(100), -8, "fewer"),
        (-2 * steps(100), -36, "fewer"),
        (torch.cat([-steps(50), torch.tensor([math.nan]).double()]), -700, "not finite at step 50"),
        (torch.cat([-steps(50), torch.tensor([math.inf]).double()]), -700, "not finite at step 50"),
        (torch.cat([-steps(8), torch.tensor([-math.inf]).double()]), -700, "fewer"),
        (torch.zeros(60).double(), -700, "does not fall"),
        (3 - 1e-14 * steps(60), -700, "which is rounding"),
        (-1e-14 * steps(60), -700, "which is rounding"),
    ],
)
def test_a_missing_rate_has_a_reason(y, floor, reason):
    result = fit(y, floor)
    assert result.rate is None
    assert result.stderr is None
    assert reason in result.reason


@pytest.mark.parametrize("rate", [1e-12, 1e-9])
def test_a_small_rate_above_rounding_is_kept(rate):
    """Its fall over the window, 30 steps, is above 4096 eps; over more steps less is enough."""
    assert fit(-rate * steps(60)).rate == pytest.approx(rate, rel=1e-3)
    assert fit(-rate / 50 * steps(6000)).rate == pytest.approx(rate / 50, rel=1e-3)


@pytest.mark.parametrize(
    ("eta", "unit", "steps", "rates"),
    [
        # The fastest mode neither grows nor decays: the linearised loss stands still.
        (1.0, "tangent", 400, ["linearized"]),
        # W + dW rounds to W: nothing moves at all.
        (1e-18, "absolute", 60, ["linearized", "population", "asymptotic"]),
    ],
)
def test_a_prediction_that_does_not_move_is_no_rate(eta, unit, steps, rates):
    config = TrialConfig(
        model=ModelConfig(width=64, activation="relu"),
        train=TrainConfig(steps=steps, eta=eta, eta_unit=unit, loss_tol=0.0),
    )
    outcome = train(config, load(SphereConfig(n=6, d=6, seed=2)))
    for rate in rates:
        assert f"rate/{rate}" not in outcome.summary
        assert outcome.notes[f"rate/{rate}"]
    assert "is rounding" in outcome.notes["rate/linearized"]
    assert "rate/measured_over_linearized" not in outcome.summary
    assert "rate/bound" in outcome.summary


def test_the_shortest_fit():
    y = -steps(2 * MIN_POINTS - 1)
    assert fit(y).rate == pytest.approx(1)
    assert fit(y[:-2]).rate is None


def test_a_window_with_too_few_points_has_no_predicted_rate():
    t = steps(20)
    assert window_rate(t, -t, 30, 40) is None
    assert window_rate(t, torch.full_like(t, math.nan), 0, 20) is None
    assert window_rate(t, -t, 0, 2) is None
    assert window_rate(t, -t, 0, 3) == pytest.approx(1)
    assert window_rate(t[::2], -t[::2], 0, 20) == pytest.approx(1)


def network(n=6):
    generator = torch.Generator().manual_seed(5)
    r = torch.randn(n, n, dtype=torch.float64, generator=generator)
    return r @ r.T, torch.randn(n, dtype=torch.float64, generator=generator)


def dynamics(h, e, eta):
    values, vectors = torch.linalg.eigh(h)
    return LinearDynamics(values, (vectors.T @ e) ** 2, eta)


@pytest.mark.parametrize("share", [0.1, 1.0, 1.9, 2.1])
def test_the_linearised_curve_is_the_linear_recursion(share):
    """Also if it grows; log loss to 1e-9."""
    h, e = network()
    eta = share / float(torch.linalg.eigvalsh(h)[-1])
    curve, losses = dynamics(h, e, eta).log_loss(steps(50)), []
    for _ in range(50):
        losses.append(0.5 * float(e @ e))
        e = e - eta * h @ e
    torch.testing.assert_close(
        curve, torch.tensor(losses, dtype=torch.float64).log(), atol=1e-9, rtol=0
    )


def test_a_long_curve_equals_its_parts():
    h, e = network()
    whole = dynamics(h, e, 0.01).log_loss(steps(9000))
    assert torch.equal(whole[-10:], dynamics(h, e, 0.01).log_loss(steps(9000)[-10:]))


@pytest.mark.parametrize("share", [0.1, 1.0, 1.9, 2.05])
@pytest.mark.parametrize("loss", [0.5, 0.1, 1e-3, 1e-9])
def test_steps_to_a_loss_against_a_walk(share, loss):
    h, e = network()
    linear = dynamics(h, e, share / float(torch.linalg.eigvalsh(h)[-1]))
    y = linear.log_loss(steps(30_000))
    hits = (y <= y[0] + math.log(loss)).nonzero()
    assert linear.steps_to(loss, 29_999) == (int(hits[0]) if len(hits) else None)


def test_a_loss_out_of_reach_has_no_step():
    h, e = network()
    assert dynamics(h, e, 1e-3).steps_to(1e-3, 5) is None
    assert dynamics(h, e, 100.0).steps_to(0.99, 10**9) is None
    assert dynamics(h, e, 1e-3).steps_to(1.0, 5) == 0


def test_rates_in_closed_form():
    assert bound_rate(0.1, 4.0) == pytest.approx(-math.log(0.8), rel=1e-14)
    assert bound_rate(1.0, 3.0) is None
    assert bound_rate(1.0, 0.0) is None
    assert asymptotic_rate(0.1, 3.0) == pytest.approx(-2 * math.log(0.7), rel=1e-14)
    assert asymptotic_rate(0.1, -3.0) is asymptotic_rate(0.1, 21.0) is None
    assert asymptotic_rate(0.1, 10.0) is None
    assert effective_eigenvalue(0.1, asymptotic_rate(0.1, 3.0)) == pytest.approx(3.0, rel=1e-12)
    assert effective_eigenvalue(1e-9, asymptotic_rate(1e-9, 3.0)) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("width", [128, 256])
def test_a_network_near_the_stability_limit_has_a_rate(width):
    """eta = 1.8 / lambda_max: within 10 % of the linearised rate (4 % measured)."""
    config = TrialConfig(
        model=ModelConfig(width=width, activation="tanh"), train=TrainConfig(steps=150, eta=0.9)
    )
    result = train(config, load(SphereConfig(n=8, d=8))).summary
    assert result["rate/measured_over_linearized"] == pytest.approx(1, abs=0.1)
    assert result["rate/measured_stderr"] < 0.01 * result["rate/measured"]
    assert result["rate/oscillation"] < 0.01


def ended(losses, status):
    """The outcome of a run with these losses."""
    config = TrialConfig(model=ModelConfig(width=32, activation="tanh"))
    data = load(SphereConfig(n=8, d=8))
    start = forecast(config, data)
    run = TrainingRun(config, data, eta=start.eta, initial=start.initial)
    known = {"residual": 1e-14, "rounding": 2.2e-16}
    run.rows = [blank_row(t) | known | {"loss": x} for t, x in enumerate(losses)]
    run.end(status, "as given")
    return compare(run)


def test_a_stalled_run_is_fitted_above_the_level_it_stalled_at():
    """A plateau far above the numerical floor: within 1 percent."""
    losses = [max(math.exp(-0.1 * t), 1e-8) for t in range(300)]
    outcome = ended(losses, Status.STALLED)
    assert outcome.summary["rate/measured"] == pytest.approx(0.1, rel=0.01)
    assert losses[int(outcome.summary["rate/window_stop"])] > 1e-6
    eigenvalue = outcome.summary["rate/effective_eigenvalue"]
    assert asymptotic_rate(outcome.summary["train/eta"], eigenvalue) == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("losses", "status", "words"),
    [
        ([1.0] * 150, Status.STALLED, ("as given", "too few steps")),
        ([1.1**t for t in range(150)], Status.BUDGET, ("does not fall",)),
        ([0.9**t for t in range(150)], Status.DIVERGED, ("diverged", "as given")),
        ([0.9**t for t in range(150)], Status.ILL_POSED, ("ill_posed", "as given")),
        ([0.5**t for t in range(6)], Status.BUDGET, ("fewer",)),
    ],
)
def test_a_run_without_a_rate_has_a_reason(losses, status, words):
    outcome = ended(losses, status)
    assert "rate/measured" not in outcome.summary
    for word in words:
        assert word in outcome.notes["rate/measured"]
