"""Step sizes of their own for W, U and a: descent in numpy, H by an explicit Jacobian."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from small_trials import config, finished
from test_step_rules import own_descent, own_losses

import deq
from deq.block_steps import BlockSteps
from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.data import SphereConfig, load
from deq.training.comparison import train
from deq.training.gradient_descent import GradientDescent
from deq.training.trained import Trained

NTK = {"factor_w": "1/m", "factor_u": "2/d", "factor_a": "0.5/m"}
SMALL = SphereConfig(n=4, d=7, seed=5)


def absolute(eta, steps=30, **rule):
    return TrainConfig(steps, eta, "absolute", **rule)


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("rule", "factors"),
    [
        (NTK, (1 / 12, 2 / 7, 0.5 / 12)),
        ({"factor_u": 0, "factor_a": 3.0}, (1, 0, 3)),
        ({"factor_w": 2.5, "factor_u": "0.5/m", "momentum": 0.6}, (2.5, 0.5 / 12, 1)),
        ({"factor_w": 0, "factor_a": 0.2, "batch": 3}, (0, 1, 0.2)),
    ],
)
def test_losses_and_weights_are_those_of_own_descent(name, rule, factors):
    trial = config(data=SMALL, model=ModelConfig(12, name), train=absolute(4e-3, **rule), seed=2)
    descent = finished(GradientDescent([trial], [load(SMALL)], keep_weights=True))
    (run,) = descent.runs
    losses, weights = own_descent(trial, 30, factors)
    assert np.allclose([row["loss"] for row in run.rows], losses, rtol=1e-9)
    for ours, theirs in zip(("w", "u", "a"), weights, strict=True):
        assert np.allclose(getattr(run.weights, ours).numpy(), theirs, atol=1e-9)


BIASED = dataclasses.replace(SMALL, bias=0.7, norm=1.2)
WITH_BIAS = {"factor_u": "2/d", "factor_bias": 3.0, "factor_a": "1/m"}
COLUMNS = np.array([2 / 7] * 7 + [3.0])  # factors of U's columns; 2/d does not count the last


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize("rule", [{}, {"momentum": 0.5}])
@pytest.mark.parametrize("own", [True, False])
def test_biases_are_a_further_input_and_may_have_their_own_step_size(name, rule, own):
    steps = WITH_BIAS if own else {}
    factors = (1, COLUMNS, 1 / 12) if own else (1, 1, 1)
    train = absolute(4e-3, **steps, **rule)
    trial = config(data=BIASED, model=ModelConfig(12, name), train=train, seed=2)
    data = load(BIASED)
    assert data.x.shape == deq.shape_of(BIASED) == (8, 4)
    plain = load(dataclasses.replace(BIASED, bias=0.0)).x
    assert torch.equal(data.x, torch.cat([plain, torch.full((1, 4), 0.7, dtype=torch.float64)]))
    (run,) = finished(GradientDescent([trial], [data], keep_weights=True)).runs
    losses, weights = own_descent(trial, 30, factors)
    assert np.allclose([row["loss"] for row in run.rows], losses, rtol=1e-9)
    _, start = own_descent(trial, 0, factors)
    moved = [np.linalg.norm(t - t0) for t, t0 in zip(weights, start, strict=True)]
    assert np.allclose(run.weights.u.numpy(), weights[1], atol=1e-9)
    assert run.moved == pytest.approx(math.hypot(*moved), rel=1e-6)
    assert run.farthest == pytest.approx(max(moved), rel=1e-6)
    radii = [
        np.linalg.norm(np.eye(12) - w) ** 2 + np.linalg.norm(u) ** 2 for w, u, _ in (start, weights)
    ]
    assert run.sphere == pytest.approx(radii[1] / radii[0] - 1, rel=1e-6)


def test_h_with_biases():
    trial = config(
        data=BIASED, model=ModelConfig(400, "tanh"), train=absolute(1e-3, 3, **WITH_BIAS)
    )
    forecast = deq.forecast(trial)
    x = load(BIASED).x
    start = GradientDescent([trial], [load(BIASED)]).weights(0)
    w, _, a = blocks(Trained(trial, start.w, start.u, start.a), x)
    slope = 1 - Trained(trial, start.w, start.u, start.a).equilibrium(x).numpy() ** 2
    r = np.stack(
        [
            s * np.linalg.solve(np.eye(400) - start.w.numpy().T * s, start.a.numpy())
            for s in slope.T
        ],
        axis=1,
    )
    u = (r.T @ r) * (x.numpy().T @ np.diag(COLUMNS) @ x.numpy())
    h = w.numpy() + u + a.numpy() / 400
    assert np.allclose(forecast.initial.tangent.numpy(), h, rtol=1e-8)
    assert torch.allclose(
        forecast.linearized.eigenvalues, forecast.population.eigenvalues, rtol=0.2
    )
    # The limit knows the norm that the biases add to every input.
    scale = 1.44 * 7 / 8 + 0.49 / 8
    assert forecast.limit.q == pytest.approx(
        2 * (0.08 * float(forecast.limit.gram[0, 0]) + scale), rel=1e-12
    )
    assert not {"theory/sphere_drift", "theory/sphere_drift_output"} & set(train(trial).summary)


def blocks(network, x):
    """J_b J_b^T of every block, J_b the Jacobian of yhat in W, U or a; by autograd through Z."""
    parts = [part.clone().requires_grad_() for part in (network.w, network.u, network.a)]

    def predict(w, u, a):
        z = torch.zeros(len(w), x.shape[1], dtype=torch.float64)
        for _ in range(120):
            z = torch.tanh(w @ z + u @ x)
        return a @ z

    jacobians = torch.autograd.functional.jacobian(predict, tuple(parts))
    return [j.flatten(1) @ j.flatten(1).T for j in jacobians]


def test_h_is_the_sum_of_factor_times_block():
    rule = absolute(1e-3, 3, **NTK)
    trial = config(data=SMALL, model=ModelConfig(12, "tanh"), train=rule, seed=1)
    descent = GradientDescent([trial], [load(SMALL)])
    next(iter(descent))
    start = GradientDescent([trial], [load(SMALL)])
    first = start.weights(0)
    network = Trained(trial, first.w, first.u, first.a)
    x = load(SMALL).x
    parts = blocks(network, x)
    h = parts[0] / 12 + 2 / 7 * parts[1] + 0.5 / 12 * parts[2]
    torch.testing.assert_close(network.tangent(x), h, rtol=1e-9, atol=1e-9)
    (run,) = descent.runs
    torch.testing.assert_close(run.initial.tangent, h, rtol=1e-9, atol=1e-9)
    least = float(torch.linalg.eigvalsh(h)[0])
    assert run.rows[0]["lambda_min_tangent"] == pytest.approx(least, rel=1e-9)
    e = run.initial.error
    assert run.rows[0]["grad_norm"] == pytest.approx(math.sqrt(float(e @ sum(parts) @ e)), rel=1e-9)
    assert run.rows[0]["grad_check"] < 1e-9


@pytest.mark.parametrize(
    ("name", "width"), [("tanh", 700), pytest.param("relu", 1600, marks=pytest.mark.slow)]
)
def test_theory_and_measurement_stand_side_by_side(name, width):
    """Losses and test losses of a wide network follow the weighted H(0), and so does H_inf."""
    data = SphereConfig(n=5, d=10, seed=1, test_n=3)
    rule = TrainConfig(60, 0.3, factor_w="1/m", factor_u="3/d", factor_a="1/m")
    trial = config(data=data, model=ModelConfig(width, name), train=rule, seed=4)
    outcome = train(trial)
    summary, notes = outcome.summary, outcome.notes
    assert summary["rate/measured_over_linearized"] == pytest.approx(1, abs=0.05)
    curve = outcome.trajectory["log_loss_linearized"] - outcome.trajectory["loss"].log()
    assert float(curve.abs().amax()) < 0.1
    assert summary["test/loss"] == pytest.approx(summary["test/loss_linearized"], rel=0.03)
    forecast = deq.forecast(trial)
    h, h_inf = forecast.linearized.eigenvalues, forecast.population.eigenvalues
    assert torch.allclose(h, h_inf, rtol=0.15)
    assert summary["train/eta"] == pytest.approx(0.6 / float(h[-1]), rel=1e-9)
    other = dataclasses.replace(rule, eta_unit="population")
    eta = deq.forecast(dataclasses.replace(trial, train=other)).eta
    assert eta == pytest.approx(0.6 / float(h_inf[-1]), rel=1e-9)
    absent = {"theory/condition_held", "theory/slack", "rate/bound", "rate/population_bound"}
    assert absent | {"theory/sphere_drift", "theory/bound_held"} <= set(notes)
    assert "theory/sphere_drift_output" in summary  # W and a have one step size
    assert all("one step size" in notes[key] for key in absent)
    for key in ("theory/delta", "theory/slack_7", "theory/distance_over_delta", "rate/bound"):
        assert key not in summary
    assert outcome.trajectory["log_loss_bound"].isnan().all()
    assert "theory/lambda_star" in summary


def test_h_inf_has_the_factors():
    x = load(SphereConfig(n=3, d=5)).x
    limit = deq.population(x, "tanh", sigma_w2=0.08)
    k, b = limit.gram.numpy(), limit.backward.numpy()
    own = 40 * k * (0.2 + 0.7 * b) + 1.5 * (x.mT @ x).numpy() * b
    assert np.allclose(limit.tangent(40, BlockSteps(0.7, 1.5, 0.2)), own, rtol=1e-13)


def test_equal_factors_are_another_step_size_and_one_is_none():
    plain = config(train=absolute(3e-3))
    halves = config(train=absolute(6e-3, factor_w=0.5, factor_u=0.5, factor_a=0.5))
    ours, theirs = (train(trial) for trial in (plain, halves))
    assert torch.allclose(ours.trajectory["loss"], theirs.trajectory["loss"], rtol=1e-12)
    assert ours.summary["rate/linearized"] == pytest.approx(theirs.summary["rate/linearized"])
    assert "theory/sphere_drift" in theirs.summary
    assert TrainConfig(factor_w=1, factor_u=1.0) == TrainConfig()
    assert TrainConfig(factor_w="1.0 / m").factor_w == TrainConfig(factor_w="1/m").factor_w == "1/m"
    assert TrainConfig(factor_u="5e-1/d").factor_u == "0.5/d"
    assert TrainConfig(factor_u="1/d", factor_bias="1/d") == TrainConfig(factor_u="1/d")


def test_low_precision_products_bound_the_scaled_step():
    solver = SolverConfig(tol=1e-6, precision="mixed")
    rule = absolute(2e-5, 20, factor_w=60.0)
    model = ModelConfig(12, "tanh", sigma_w2=1e-6)  # W is hardly more than its steps
    trial = config(data=SMALL, model=model, train=rule, dtype="float32", seed=3, solver=solver)
    mixed = train(trial).trajectory["loss"].numpy()
    assert np.allclose(mixed, own_losses(trial, 20, (60, 1, 1)), rtol=1e-4)
    descent = GradientDescent([trial], [load(SMALL)])
    for step in descent:  # no measurement of ||W||_2 after the one at step 0
        pack = descent.groups[0].pack
        if step == 9:
            break
        assert float(pack.norm_w) >= float(torch.linalg.matrix_norm(pack.w[0].double(), 2))
    assert float(pack.norm_w) > 1.01 * float(torch.linalg.matrix_norm(pack.w[0].double(), 2))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (
            lambda: config(train=TrainConfig(factor_bias=2.0)),
            "factor_bias has no meaning without biases",
        ),
        (lambda: SphereConfig(bias=-1.0), "bias must be finite and at least 0, not -1.0"),
        (lambda: TrainConfig(factor_w=-0.1), "factor_w must be a finite number of at least 0"),
        (lambda: TrainConfig(factor_u=math.nan), "factor_u must be a finite number"),
        (lambda: TrainConfig(factor_a="1/n"), "alone or over m or d as in 1/m, not 1/n"),
        (lambda: TrainConfig(factor_a="x/m"), "not x/m"),
        (lambda: TrainConfig(factor_w=0, factor_u="0/d", factor_a=0), "are all 0"),
        (lambda: TrainConfig(factor_w=2.0, eta_unit="theorem"), r"condition \(10\)"),
        (
            lambda: config(train=TrainConfig(factor_u=0.5, integrator="windows")),
            "one step size only",
        ),
    ],
)
def test_wrong_factors_are_refused_in_one_line(build, match):
    with pytest.raises(ValueError, match=match) as error:
        build()
    assert "\n" not in str(error.value)
