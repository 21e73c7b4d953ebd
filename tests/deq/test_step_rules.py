"""Heavy ball and mini-batches: against gradient descent in numpy, and the closed forms."""

import dataclasses
import math

import mpmath
import numpy as np
import pytest
import torch
from small_trials import config, finished

import deq
from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.data import SphereConfig, load
from deq.theory.heavy_ball import log_errors, modulus, optimum
from deq.training.batches import batch_weights
from deq.training.checkpoint import load_newest, write_checkpoint
from deq.training.comparison import compare, train
from deq.training.gradient_descent import GradientDescent

PHI = {
    "tanh": (np.tanh, lambda q: 1 - np.tanh(q) ** 2),
    "relu": (lambda q: np.maximum(q, 0), lambda q: (q > 0) * 1.0),
}


def own_losses(trial, steps, factors=(1, 1, 1)):
    """Losses of gradient descent with momentum over batches, in numpy, from W(0), U(0), a(0)."""
    return own_descent(trial, steps, factors)[0]


def own_descent(trial, steps, factors):
    """Losses and last weights, with factors of the step size of W, U and a."""
    data, m, n = load(trial.data), trial.model.width, trial.data.n
    x, y, d = data.x.numpy(), data.y.numpy(), data.x.shape[0]
    stream = torch.Generator().manual_seed(trial.seed)

    def rows(count, length):
        drawn = [torch.randn(length, dtype=torch.float64, generator=stream) for _ in range(count)]
        return np.stack([row.numpy() for row in drawn])

    w = rows(m, m) * math.sqrt(2 * trial.model.sigma_w2 / m)
    u, a = rows(m, d) * math.sqrt(2 / d), rows(1, m)[0] / math.sqrt(m)
    phi, slope = PHI[trial.model.activation]
    before, losses = (w, u, a), []
    for step in range(steps + 1):
        z = np.zeros((m, n))
        for _ in range(300):
            z = phi(w @ z + u @ x)
        e = a @ z - y
        losses.append(e @ e / 2)
        mask = slope(w @ z + u @ x)
        v = np.stack([np.linalg.solve(np.eye(m) - w.T * mask[:, i], a) for i in range(n)], axis=1)
        weighted = e.copy()
        if trial.train.batch:
            weighted *= batch_weights(trial.seed, step, n, trial.train.batch).numpy()
        r = mask * v * weighted
        gradients = (r @ z.T, r @ x.T, z @ weighted)
        now, beta = (w, u, a), trial.train.momentum
        w, u, a = (
            t - trial.train.eta * f * g + beta * (t - t0)
            for t, f, g, t0 in zip(now, factors, gradients, before, strict=True)
        )
        before = now
    return np.array(losses), now


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize("rule", [{"momentum": 0.7}, {"batch": 2}, {"momentum": 0.4, "batch": 3}])
def test_losses_are_those_of_own_descent(name, rule):
    rule = TrainConfig(steps=30, eta=2e-3, eta_unit="absolute", **rule)
    trial = config(model=ModelConfig(12, name), train=rule, seed=2)
    losses = train(trial).trajectory["loss"].numpy()
    assert np.allclose(losses, own_losses(trial, 30), rtol=1e-9)


@pytest.mark.parametrize(("eta", "momentum"), [(0.3, 0.5), (0.02, 0.9), (1.1, 0.2), (0.25, 0.25)])
def test_the_closed_form_is_the_recursion(eta, momentum):
    """In mpmath, at eigenvalues with real, complex and equal roots on both sides."""
    root = math.sqrt(momentum)
    doubles = [(1 - root) ** 2 / eta, (1 + root) ** 2 / eta]
    h = torch.tensor([0.01, 0.1, 1.0, *doubles, 1.9 / eta], dtype=torch.float64)
    steps = torch.tensor([0.0, 1, 2, 7, 40, 300], dtype=torch.float64)
    ours = log_errors(eta, h, momentum, steps)
    mpmath.mp.dps = 60
    for k, value in enumerate(h.tolist()):
        middle = 1 + mpmath.mpf(momentum) - mpmath.mpf(eta) * mpmath.mpf(value)
        c, sequence = [mpmath.mpf(1), 1 - mpmath.mpf(eta) * mpmath.mpf(value)], []
        for t in range(301):
            c.append(middle * c[-1] - momentum * c[-2])
            if t in steps.tolist():
                sequence.append(float(mpmath.log(abs(c[t]))) if c[t] else -math.inf)
        for mine, exact in zip(ours[:, k].tolist(), sequence, strict=True):
            # Where an oscillating error is near a zero, its logarithm is less precise.
            assert mine == pytest.approx(exact, rel=1e-6, abs=1e-5) or exact < -30
        roots = np.abs(np.roots([1, -(1 + momentum - eta * value), momentum]))
        assert modulus(eta, value, momentum) == pytest.approx(roots.max(), rel=1e-6)


def test_no_pair_of_parameters_is_better_than_the_optimum():
    least, greatest = 0.3, 40.0
    eta, momentum, rate = optimum(least, greatest)
    k = math.sqrt(greatest / least)
    assert rate == pytest.approx(-2 * math.log((k - 1) / (k + 1)), rel=1e-12)

    def worst(eta, momentum):
        return max(modulus(eta, h, momentum) for h in np.linspace(least, greatest, 200))

    best = worst(eta, momentum)
    assert -2 * math.log(best) == pytest.approx(rate, rel=1e-6)
    for u in np.linspace(0.5, 1.5, 21):
        for v in np.linspace(0.5, 1.2, 21):
            if momentum * v < 1:
                assert worst(eta * u, momentum * v) >= best * (1 - 1e-9)
    assert optimum(0.0, 1.0) is None


def test_a_wide_network_with_the_best_momentum_falls_at_the_predicted_rate():
    data = SphereConfig(n=6, d=12, seed=1)
    model = ModelConfig(600, "tanh")
    plain = config(data=data, model=model, train=TrainConfig(2, eta=0.9))
    best = deq.forecast(plain).theory()[0]
    rule = TrainConfig(
        60, best["theory/heavy_ball_eta"], "absolute", momentum=best["theory/heavy_ball_momentum"]
    )
    outcome = train(dataclasses.replace(plain, train=rule))
    summary = outcome.summary
    linear, loss = outcome.trajectory["log_loss_linearized"], outcome.trajectory["loss"].log()
    assert float((linear - loss).abs()[:10].amax()) < 0.2
    assert summary["rate/asymptotic"] == pytest.approx(best["rate/heavy_ball"], rel=1e-6)
    root = math.sqrt(rule.momentum)
    k = ((1 + root) / (1 - root)) ** 2  # the condition number
    best_without = -2 * math.log((k - 1) / (k + 1))
    assert float(loss[5] - loss[25]) / 20 > best_without
    assert "theory/condition_held" not in summary
    assert "rate/effective_eigenvalue" not in summary
    assert "without momentum" in outcome.notes["theory/condition_held"]


def test_batches_are_unbiased_and_depend_on_seed_and_step_alone():
    draws = torch.stack([batch_weights(3, step, 7, 2) for step in range(4000)])
    assert set(draws.unique().tolist()) == {0.0, 3.5}
    assert ((draws > 0).sum(1) == 2).all()
    assert np.allclose(draws.mean(0).numpy(), 1, atol=0.12)
    assert torch.equal(batch_weights(3, 5, 7, 2), draws[5])
    assert not torch.equal(batch_weights(4, 5, 7, 2), draws[5])


RULES = [{"momentum": 0.8}, {"batch": 2}, {"momentum": 0.5, "batch": 3}]
RULES += [{"factor_w": 0.3, "factor_u": "1/d"}, {"momentum": 0.5, "factor_a": "1/m"}]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_a_checkpoint_changes_no_bit(tmp_path, name, rule):
    """Two trials of a pack; one ends before the checkpoint, so that the pack was made smaller."""
    rules = [TrainConfig(steps, **rule) for steps in (6, 20)]
    configs = [config(model=ModelConfig(12, name), train=r, seed=k) for k, r in enumerate(rules)]
    data = [load(configs[0].data)] * 2
    whole = finished(GradientDescent(configs, data, keep_weights=True))
    part = GradientDescent(configs, data, keep_weights=True)
    for step in part:
        if step == 11:
            break
    write_checkpoint(tmp_path, part, {}, {})
    checkpoint, _ = load_newest(tmp_path, {})
    resumed = finished(checkpoint.descent(configs, data, keep_weights=True))
    alone = finished(GradientDescent(configs[1:], data[1:]))
    for ours, theirs in ((whole, resumed), (whole, alone)):
        rows = [descent.runs[-1].rows for descent in (ours, theirs)]
        assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert torch.equal(whole.runs[1].weights.w, resumed.runs[1].weights.w)


def test_a_float64_finish_keeps_the_velocity():
    rule = TrainConfig(150, momentum=0.6)
    base = config(solver=SolverConfig(tol=1e-6, finish="float64"), train=rule, dtype="float32")
    exact = dataclasses.replace(base, dtype="float64", solver=SolverConfig(tol=1e-10))
    mixed, double = (train(trial).trajectory["loss"] for trial in (base, exact))
    count = min(len(mixed), len(double), 60)
    assert torch.allclose(mixed[:count], double[:count], rtol=1e-2)
    assert (
        compare(finished(GradientDescent([base], [load(base.data)])).runs[0]).trajectory[
            "rounding"
        ][-1]
        < 1e-15
    )


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: TrainConfig(momentum=1.0), r"momentum must be in \[0, 1\), not 1.0"),
        (lambda: TrainConfig(momentum=math.nan), "momentum must be in"),
        (lambda: TrainConfig(batch=0), "batch must be at least 1, not 0"),
        (lambda: config(train=TrainConfig(batch=6)), "train.batch=6 is larger than data.n=5"),
        (lambda: config(train=TrainConfig(momentum=0.5, integrator="windows")), "full-batch"),
        (lambda: config(train=TrainConfig(batch=2, integrator="windows")), "full-batch"),
    ],
)
def test_wrong_rules_are_refused_in_one_line(build, match):
    with pytest.raises(ValueError, match=match) as error:
        build()
    assert "\n" not in str(error.value)


def test_a_batch_of_all_samples_is_no_batch():
    assert config(train=TrainConfig(batch=5)) == config(train=TrainConfig())
