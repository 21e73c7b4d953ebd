"""The initial condition at its best delta, rejection sampling, and the flags."""

import dataclasses
import math
import re

import numpy
import pytest
import torch
from networks import first_network

from deq.activations.builtin import ACTIVATIONS
from deq.config import ModelConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.data.dataset import Dataset
from deq.models.equilibrium import draw
from deq.theory.convergence import (
    DrawnNetwork,
    condition_at,
    initial_condition,
    theorem_step,
)
from deq.theory.rejection_sampling import conditions, starting_weights
from deq.training.comparison import compare, train
from deq.training.forecast import forecast, predict
from deq.training.gradient_descent import GradientDescent
from deq.training.training_run import Status

CPU = torch.device("cpu")


def drawn(lambda_0=3.0, error=1.0, norm_w=0.7, norm_u=2.5, norm_a=1.0, norm_x=14.0):
    gram = torch.diag(torch.linspace(lambda_0, lambda_0 + 5, 6, dtype=torch.float64))
    e = torch.full((6,), error / math.sqrt(6), dtype=torch.float64)
    return DrawnNetwork(gram, e, norm_w, norm_u, norm_a, norm_x)


# A network for which these of conditions (7), (8), (9) are met, and how many they are.
CASES = {
    "none": (drawn(), 0),
    "all": (drawn(1e4, 1e-3, 0.1, 0.5, 0.01, 1.0), 3),
    "8 alone": (drawn(30.0, 3e-4, 0.7, 2.5, 0.1, 1.0), 1),
    "8 with a tiny error": (drawn(3.0, 1e-7, 0.5, 2.5, 1.0, 1.0), 1),
    "9 alone": (drawn(30.0, 1e4, 0.3, 0.5, 0.1, 1.0), 1),
    "8 and 9": (drawn(30.0, 2.0, 0.1, 0.5, 0.01, 1.0), 2),
    "no error": (drawn(3.0, 0.0), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_best_delta_against_brute_force(name):
    """No delta of a dense grid has a better worst slack (relative 1e-9); the grid comes near."""
    start, _ = CASES[name]
    model = ModelConfig(width=40)
    result = initial_condition(start, model)
    room = 1 - start.norm_w
    grid = torch.cat([torch.logspace(-9, -2, 4000), torch.linspace(0.01, 0.9999, 4000)])
    best = max(condition_at(start, model, room * f).worst for f in grid.double().tolist())
    assert result.worst >= best * (1 - 1e-9)
    assert result.worst == pytest.approx(best, rel=0.01)


@pytest.mark.parametrize("name", CASES)
def test_each_condition_can_hold_alone(name):
    start, met = CASES[name]
    result = initial_condition(start, ModelConfig(width=40))
    slacks = (result.slack_7, result.slack_8, result.slack_9)
    assert sum(slack >= 1 for slack in slacks) == met, slacks
    assert result.held == (met == 3)


@pytest.mark.parametrize(("lip", "at_zero"), [(1.0, 0.0), (0.5, -0.3)])
def test_the_conditions_equal_the_theorems_formulas(monkeypatch, lip, at_zero):
    """With L = 1, phi(0) = 0 as in the paper, and with other values."""
    phi = dataclasses.replace(ACTIVATIONS["relu"], lipschitz=lip, at_zero=at_zero)
    monkeypatch.setitem(ACTIVATIONS, "relu", phi)
    start = drawn()
    result = initial_condition(start, ModelConfig(width=40, activation="relu"))
    rho_w, rho_u, rho_a = (v + result.delta for v in (0.7, 2.5, 1.0))
    gap = 1 - lip * rho_w
    c_a = (lip * rho_u * 14 + abs(at_zero) * math.sqrt(40 * 6)) / gap
    c_w, c_u = c_a * lip * rho_a / gap, 14 * lip * rho_a / gap
    square = c_w**2 + c_u**2
    assert result.slack_7 == pytest.approx(3 * result.delta / 4 / max(c_w, c_u, c_a))
    assert result.slack_8 == pytest.approx(3**1.5 * rho_a / (4 * (2 + 2**0.5) * square))
    assert result.slack_9 == pytest.approx(3 / (4 * square))
    assert result.eta_limit == pytest.approx(min(2 / 3, 2 * square / (square + c_a**2) ** 2))


SUPREMA = {"sigmoid": 1.0, "arctan": math.pi / 2, "sin": 1.0}


def slacks_in_numpy(start, model, phi, delta):
    """Slacks of (7) to (9) and the right side of (10) at many delta, in longdouble."""
    delta = numpy.asarray(delta, numpy.longdouble)
    lip, n = numpy.longdouble(phi.lipschitz), len(start.error)
    rho_w, rho_u, rho_a = start.norm_w + delta, start.norm_u + delta, start.norm_a + delta
    gap = 1 - lip * rho_w
    c_a = (lip * rho_u * start.norm_x + abs(phi.at_zero) * math.sqrt(model.width * n)) / gap
    c_a = numpy.minimum(c_a, SUPREMA.get(phi.name, math.inf) * math.sqrt(model.width * n))
    c_w, c_u = c_a * lip * rho_a / gap, start.norm_x * lip * rho_a / gap
    square, least = c_w**2 + c_u**2, numpy.linalg.eigvalsh(start.gram.numpy())[0]
    error = float(start.error.norm()) or 1e-300
    seven = least * delta / (4 * numpy.maximum(numpy.maximum(c_w, c_u), c_a) * error)
    eight = least**1.5 * rho_a / (4 * (2 + 2**0.5) * square * error)
    limit = numpy.minimum(2 / least, 2 * square / (square + c_a**2) ** 2)
    return numpy.minimum(numpy.minimum(seven, eight), least / (4 * square)), limit


def satisfying(name, **model):
    """A trial of three samples with small targets, for which all conditions hold at small eta."""
    data = load(SphereConfig(n=3, d=30, seed=4))
    data = Dataset(x=data.x, y=torch.tensor([2e-5, -1e-5, 0.0], dtype=torch.float64))
    base = {"width": 400, "activation": name, "sigma_w2": 0.001, "sigma_a": 1e-5}
    config = TrialConfig(model=ModelConfig(**base | model), seed=5)
    return config, data, forecast(config, data).initial


@pytest.mark.parametrize("name", ["leaky_relu", "softplus", "arctan", "sin"])
def test_the_largest_step_size_against_brute_force(name):
    """The conditions hold at some delta of a dense grid exactly when they are said to hold."""
    config, data, start = satisfying(name)
    phi, model = ACTIVATIONS[name], config.model
    delta = (1 / phi.lipschitz - start.norm_w) * numpy.linspace(1e-4, 0.9999, 40_001)
    worst, limit = slacks_in_numpy(start, model, phi, delta)
    largest = float(limit[worst >= 1].max())
    assert theorem_step(start, model).eta_limit == pytest.approx(largest, rel=1e-3)
    # The delta that is best for (7) to (9) allows much less.
    assert initial_condition(start, model).eta_limit < 0.8 * largest
    for eta in (0.2 * largest, 0.8 * largest, 0.99 * largest):
        train_config = TrainConfig(eta=eta, eta_unit="absolute")
        prediction = predict(dataclasses.replace(config, train=train_config), data, start, eta)
        assert prediction.condition_held
        best = float(numpy.minimum(worst, limit / eta).max())
        assert prediction.condition.least(eta) == pytest.approx(best, rel=1e-3)
    assert not initial_condition(start, model, 1.01 * largest).held_at(1.01 * largest)


def test_the_largest_step_size_is_strict_and_no_delta_allows_more():
    """Also where no delta satisfies (7) to (9): then it is the limit at the best one."""
    config, data, start = satisfying("leaky_relu")
    limit = theorem_step(start, config.model)
    assert limit.held
    assert not limit.held_at(limit.eta_limit)
    assert limit.held_at(limit.eta_limit * (1 - 1e-15))
    for eta, held in ((1.0, 0), (1 - 1e-12, 1)):
        train_config = TrainConfig(steps=1, eta=eta, eta_unit="theorem")
        summary = forecast(dataclasses.replace(config, train=train_config), data).theory()[0]
        assert summary["theory/condition_held"] == held
        assert summary["theory/slack_10"] == pytest.approx(1 / eta, rel=1e-15)
    unmet = drawn()
    assert theorem_step(unmet, config.model) == initial_condition(unmet, config.model)
    assert theorem_step(drawn(norm_w=1.0), config.model) is None


@pytest.mark.parametrize("eta", [1e-9, 1e-5, 1e-2, 10.0])
@pytest.mark.parametrize("name", CASES)
def test_the_best_delta_for_all_four_conditions_against_brute_force(name, eta):
    start, _ = CASES[name]
    model = ModelConfig(width=40, activation="sigmoid", sigma_w2=0.5)
    room = 4 - start.norm_w
    delta = room * numpy.concatenate(
        [numpy.logspace(-9, -2, 4000), numpy.linspace(0.01, 0.9999, 4000)]
    )
    worst, limit = slacks_in_numpy(start, model, ACTIVATIONS["sigmoid"], delta)
    best = float(numpy.minimum(worst, limit / eta).max())
    result = initial_condition(start, model, eta).least(eta)
    assert result >= best * (1 - 1e-9)
    assert result == pytest.approx(best, rel=0.01)


def equilibrium_in_numpy(phi, w, u, x):
    z = numpy.zeros((len(w), x.shape[1]))
    for _ in range(60):
        z = phi(w @ z + u @ x)
    return z


@pytest.mark.parametrize("name", ["leaky_relu", "arctan", "sin"])
def test_the_derivation_of_the_factor_in_9(name):
    """Own GD in numpy: every inequality of docs/theory.md, section 3, at every step.

    Its step: ||e(t+1)|| <= (1 - eta lambda_0 / 2 + eta S) ||e(t)||, and the direct proof's
    Phi(t+1) <= Phi(t) (1 - eta lambda_0 + 4 eta S).
    """
    config, data, start = satisfying(name)
    condition = theorem_step(start, config.model)
    assert condition.slack_9_strict == condition.slack_9 / 2
    w, u, a = (part.numpy().copy() for part in first_network(config.model, config.seed, 30))
    x, y = data.x.numpy(), data.y.numpy()
    phi, slope = {
        "leaky_relu": (lambda p: numpy.where(p > 0, p, 0.01 * p), lambda p: 0.01 + 0.99 * (p > 0)),
        "arctan": (numpy.arctan, lambda p: 1 / (1 + p * p)),
        "sin": (numpy.sin, numpy.cos),
    }[name]
    assert (condition.c_a < condition.c_a_lipschitz) == (name in SUPREMA)
    square, eta, least = condition.square, 0.99 * condition.eta_limit, start.lambda_0
    assert eta * condition.c_a**2 <= 0.5
    z = equilibrium_in_numpy(phi, w, u, x)
    for _ in range(10):
        e, gram, d = a @ z - y, z.T @ z, slope(w @ z + u @ x)
        v = numpy.zeros_like(z)
        for _ in range(60):
            v = a[:, None] + w.T @ (d * v)
        r = d * v
        assert numpy.linalg.norm(z) <= condition.c_a
        assert numpy.linalg.eigvalsh(gram)[0] >= least / 2
        assert numpy.linalg.eigvalsh(gram)[-1] <= condition.c_a**2
        steps = (r * e) @ z.T, (r * e) @ x.T, z @ e
        size = sum(numpy.linalg.norm(step) ** 2 for step in steps[:2])
        assert size <= square * (e @ e)
        w, u, a = w - eta * steps[0], u - eta * steps[1], a - eta * steps[2]
        after = equilibrium_in_numpy(phi, w, u, x)
        new = a @ after - y
        rest = new - (e - eta * gram @ e)
        numpy.testing.assert_allclose(rest, a @ (after - z), rtol=0, atol=1e-14)
        assert numpy.linalg.norm(rest) <= eta * square * numpy.linalg.norm(e) + 1e-14
        sharp = (1 - eta * least / 2 + eta * square) * numpy.linalg.norm(e)
        assert numpy.linalg.norm(new) <= sharp * (1 + 1e-12)
        assert new @ new <= (e @ e) * (1 - eta * least + 4 * eta * square) * (1 + 1e-12)
        z = after


@pytest.mark.parametrize(("name", "sup"), [("sin", 1.0), ("arctan", math.pi / 2), ("silu", None)])
def test_a_bounded_activation_records_both_constants(name, sup):
    """For an unbounded one the second is absent."""
    config, data, start = satisfying(name, sigma_a=1.0)
    summary = forecast(config, data).theory()[0]
    phi, delta = ACTIVATIONS[name], summary["theory/delta"]
    lip, gap = phi.lipschitz, 1 - phi.lipschitz * (start.norm_w + delta)
    c_a = lip * (start.norm_u + delta) * math.sqrt(3 * 30) / gap
    assert summary["theory/c_a"] == pytest.approx(c_a, rel=1e-12)
    bounded = summary.get("theory/c_a_bounded")
    assert bounded == (sup and pytest.approx(sup * math.sqrt(400 * 3), rel=1e-14))
    if sup:
        rho_a = start.norm_a + delta
        square = (lip * rho_a / gap) ** 2 * (bounded**2 + 90)
        assert summary["theory/slack_9"] == pytest.approx(start.lambda_0 / (4 * square), rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_factors_that_follow_from_9(share):
    """The table of docs/theory.md: eta lambda_0 from 0 to 1/2, S = lambda_0 / k."""
    x = 0.5 * share
    for k, direct, sharp in (
        (4, 1.0, (1 - x / 4) ** 2),
        (1 / (math.sqrt(3) - 1.5), 1 - 0.0718 * x, 1 - x / 2),
        (8, 1 - x / 2, (1 - 3 * x / 8) ** 2),
    ):
        assert 1 - x + 4 * x / k == pytest.approx(direct, abs=1e-4)
        assert (1 - x / 2 + x / k) ** 2 <= sharp + 1e-15
    assert (1 - x / 4) ** 2 == pytest.approx(1 - x / 2 + (x / 4) ** 2, rel=1e-15)
    for k in (8, 16):
        assert (1 - x / 2 + x / k) ** 2 < 1 - x / 2


def test_no_condition_without_room_for_delta():
    assert initial_condition(drawn(norm_w=1.0), ModelConfig(width=40)) is None


# Two samples with small targets, sigma_a small: the condition holds for some networks.
SPHERE = load(SphereConfig(n=2, d=3, seed=1))
SMALL = Dataset(x=SPHERE.x, y=torch.tensor([1e-3, -1e-3], dtype=torch.float64))


def redrawing(seed=0, **model):
    base = {"width": 64, "activation": "leaky_relu", "sigma_w2": 0.01, "sigma_a": 0.01}
    return TrialConfig(model=ModelConfig(**base | {"init": "redraw"} | model), seed=seed)


def test_redrawing_stops_at_the_first_network_that_holds():
    """Compared with a plain loop over each seed's own stream."""
    tries = []
    for seed in range(8):
        config, stream = redrawing(seed), torch.Generator().manual_seed(seed)
        w, u, a = torch.empty(1, 64, 64), torch.empty(1, 64, 3), torch.empty(1, 64)
        parts = [part.double() for part in (w, u, a)]
        result, count = None, 0
        while result is None or not result.held:
            count += 1
            draw(config.model, stream, *(part[0] for part in parts))
            (result,) = conditions([config], [SMALL], tuple(parts))
        tries.append(count)
        ours = starting_weights([config], [SMALL], CPU)
        assert all(torch.equal(x, y) for x, y in zip(ours, parts, strict=True))
    assert min(tries) == 1 < max(tries)


def test_a_pack_redraws_only_waiting_trials_and_equals_its_trials_alone(monkeypatch):
    configs = [redrawing(seed) for seed in range(6)]
    configs.append(redrawing(0, init="gaussian"))
    alone = [starting_weights([config], [SMALL], CPU) for config in configs]
    sizes = []

    def counted(waiting, *rest):
        sizes.append(len(waiting))
        return conditions(waiting, *rest)

    monkeypatch.setattr("deq.theory.rejection_sampling.conditions", counted)
    packed = starting_weights(configs, [SMALL] * 7, CPU)
    for b, parts in enumerate(alone):
        assert all(torch.equal(part[b], own[0]) for part, own in zip(packed, parts, strict=True))
    assert sizes[0] == 6
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 6


def test_gaussian_is_the_first_draw():
    config = redrawing(5, init="gaussian")
    ours = starting_weights([config], [SMALL], CPU)
    first = first_network(config.model, 5, 3)
    assert all(torch.equal(x[0], y) for x, y in zip(ours, first, strict=True))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ({"sigma_a": 1.0, "max_draws": 3}, r"none of 3 .* \(9\) [^:]*: lower model.sigma_a"),
        ({"width": 20, "max_draws": 2}, r"none of 2 .*: raise model.max_draws or"),
        ({"sigma_w2": 1.0, "allow_ill_posed": True, "max_draws": 2}, r"lower model.sigma_w2"),
    ],
)
def test_giving_up_is_an_outcome_that_names_remedies(model, match):
    result = train(redrawing(**model), SMALL)
    assert result.status is Status.REJECTED
    assert re.search(match, result.reason)
    assert "\n" not in result.reason
    assert result.summary["theory/networks_drawn"] == model["max_draws"]
    assert result.reason in result.notes["rate"]
    assert len(result.trajectory["step"]) == 0


def test_a_rejected_trial_leaves_the_others_of_its_pack_as_they_are():
    """The number of draws is that of a plain loop over the seed's own stream."""
    configs = [redrawing(seed, max_draws=2) for seed in range(6)]
    configs = [dataclasses.replace(c, train=TrainConfig(steps=5)) for c in configs]
    descent = GradientDescent(configs, [SMALL] * 6, keep_weights=True)
    for _ in descent:
        pass
    statuses = [run.status for run in descent.runs]
    assert {Status.REJECTED, Status.BUDGET} == set(statuses)
    for config, run in zip(configs, descent.runs, strict=True):
        networks, accepted = torch.Generator().manual_seed(config.seed), []
        for _ in range(2):
            parts = [t.double() for t in (torch.empty(1, 64, 64), torch.empty(1, 64, 3))]
            parts.append(torch.empty(1, 64).double())
            draw(config.model, networks, *(part[0] for part in parts))
            accepted.append(conditions([config], [SMALL], tuple(parts))[0].held)
        together, alone = compare(run), train(config, SMALL)
        first = accepted.index(True) + 1 if any(accepted) else 2
        assert together.summary["theory/networks_drawn"] == first
        assert (together.status is Status.REJECTED) == (not any(accepted))
        assert torch.equal(together.trajectory["loss"], alone.trajectory["loss"])
        assert (run.weights is None) == (not any(accepted))


@pytest.mark.parametrize("seed", range(3))
def test_the_theorem_holds_where_its_conditions_hold(seed):
    """All its claims, at 0.99 of its step size and at the measured steps."""
    config = dataclasses.replace(
        redrawing(seed), train=TrainConfig(steps=40, eta=0.99, eta_unit="theorem")
    )
    result = train(config, SMALL).summary
    for name in ("condition", "bound", "lambda", "well_posed"):
        assert result[f"theory/{name}_held"] == 1, name
    assert result["theory/slack_10"] == pytest.approx(1 / 0.99)


def test_a_step_size_above_the_theorems_limit_breaks_the_condition():
    config = dataclasses.replace(
        redrawing(), train=TrainConfig(steps=2, eta=1.01, eta_unit="theorem")
    )
    assert train(config, SMALL).summary["theory/condition_held"] == 0
