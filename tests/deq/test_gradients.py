"""Gradients and tangent kernel against autograd and finite differences."""

import pytest
import torch
from networks import first_network
from small_trials import DATA, EVERY, config, run_to_end

from deq.activations.builtin import ACTIVATIONS
from deq.activations.lookup import activation
from deq.config import DiagnosticsConfig, ModelConfig, TrainConfig
from deq.training.gradient_descent import GradientDescent


def predict(phi, w, u, a, x):
    """Yhat by plain iteration, differentiable and independent of the engine."""
    z = torch.zeros(w.shape[0], x.shape[1], dtype=torch.float64)
    for _ in range(200):
        z = phi(w @ z + u @ x)
    return a @ z


def weights(model):
    return first_network(model, 0, 4)


@pytest.mark.parametrize("name", EVERY)
def test_one_step_moves_the_weights_by_the_gradient(name):
    model, eta = ModelConfig(width=12, activation=name), 1e-3
    descent = GradientDescent(
        [config(model=model, train=TrainConfig(eta=eta, eta_unit="absolute"))], [DATA]
    )
    next(iter(descent))
    w, u, a = (v.requires_grad_() for v in weights(model))
    loss = 0.5 * ((predict(activation(name).function, w, u, a, DATA.x) - DATA.y) ** 2).sum()
    loss.backward()
    pack = descent.groups[0].pack
    torch.testing.assert_close(pack.w[0], (w - eta * w.grad).detach(), atol=1e-14, rtol=1e-11)
    torch.testing.assert_close(pack.a[0], (a - eta * a.grad).detach(), atol=1e-14, rtol=1e-11)
    moved = ((u - eta * u.grad) @ DATA.x).detach()
    torch.testing.assert_close(pack.p[0].T, moved, atol=1e-14, rtol=1e-11)
    norm = sum((v.grad**2).sum() for v in (w, u, a)).sqrt()
    assert descent.runs[0].rows[0]["grad_norm"] == pytest.approx(float(norm), rel=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_the_gradient_agrees_with_finite_differences(name):
    model, h, eta = ModelConfig(width=12, activation=name), 1e-6, 1e-3
    descent = GradientDescent(
        [config(model=model, train=TrainConfig(eta=eta, eta_unit="absolute"))], [DATA]
    )
    next(iter(descent))
    w, u, a = weights(model)
    gradient = (w - descent.groups[0].pack.w[0]) / eta

    def loss(w):
        return 0.5 * float(
            ((predict(activation(name).function, w, u, a, DATA.x) - DATA.y) ** 2).sum()
        )

    for i, j in ((0, 0), (3, 7), (11, 2)):
        bump = torch.zeros_like(w)
        bump[i, j] = h
        slope = (loss(w + bump) - loss(w - bump)) / (2 * h)
        assert float(gradient[i, j]) == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("name", EVERY)
def test_the_tangent_kernel_is_the_jacobian_times_its_transpose(name):
    model = ModelConfig(width=12, activation=name)
    descent = GradientDescent([config(model=model)], [DATA])
    next(iter(descent))
    phi = activation(name).function
    parts = torch.autograd.functional.jacobian(
        lambda w, u, a: predict(phi, w, u, a, DATA.x), weights(model)
    )
    jacobian = torch.cat([part.flatten(1) for part in parts], dim=1)
    initial = descent.runs[0].initial
    assert initial is not None
    torch.testing.assert_close(initial.tangent, jacobian @ jacobian.T, atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_grad_check_compares_two_norms_of_the_gradient(name):
    """At every tenth measurement, relative 1e-10: e^T H e and the norm of the gradient."""
    outcome = run_to_end(
        model=ModelConfig(width=100, activation=name), diagnostics=DiagnosticsConfig(every=1)
    )
    check = outcome.trajectory["grad_check"]
    assert (~check.isnan()).nonzero().flatten().tolist() == [0, 10, 20]
    assert float(check.nan_to_num().amax()) < 1e-10
