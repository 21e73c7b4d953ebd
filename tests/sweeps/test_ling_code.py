"""The experiments that have the settings of public code for figure 1 of Ling et al."""

import math

import numpy as np
import pytest
import torch

import deq
import sweeps
from sweeps.config.request import request

TINY = ["model.width=20", "data.n=5", "data.d=30", "train.steps=15", "train.eta=4e-2"]
EXACT = ["solver.tol=1e-13", "dtype=float64"]


def own_losses(trial, steps):
    """Half the losses of gradient descent in the NTK parametrisation, with two biases; autograd.

    z = relu(W z + U x + b_w + b_u) / sqrt(m), yhat = a^T z, the loss is ||yhat - y||^2; all weights
    have one step size, half of that of 1/2 ||yhat - y||^2.
    """
    data, m, d = deq.load(trial.data), trial.model.width, trial.data.d
    start = deq.GradientDescent([trial], [data]).weights(0)
    x = data.x[:d] / torch.linalg.vector_norm(data.x[:d], dim=0)
    inputs = start.u[:, :d] * trial.data.norm * math.sqrt(d)
    assert float(inputs.std()) == pytest.approx(1, abs=0.1)
    bias = (start.u[:, d:] * trial.data.bias)[:, 0]
    assert float(bias.var()) == pytest.approx(0.4 / (d + 1), rel=0.7)
    parts = [math.sqrt(m) * start.w, inputs, math.sqrt(m) * start.a, bias, torch.zeros_like(bias)]
    losses = []
    for _ in range(steps + 1):
        w, u, a, *biases = parts = [part.detach().requires_grad_() for part in parts]
        z = torch.zeros(m, x.shape[1], dtype=torch.float64)
        for _ in range(150):
            z = torch.relu(w @ z + u @ x + sum(biases)[:, None]) / math.sqrt(m)
        loss = (a @ z - data.y).square().sum()
        losses.append(loss.item() / 2)
        gradients = torch.autograd.grad(loss, parts)
        parts = [p - trial.train.eta / 2 * g for p, g in zip(parts, gradients, strict=True)]
    return np.array(losses)


def test_the_synthetic_experiment_is_descent_in_that_parametrisation():
    trial = sweeps.compose(["experiment=ling_fig1_code_synthetic", *TINY, *EXACT])
    ours = deq.train(trial).trajectory["loss"].numpy()
    own = own_losses(trial, 15)
    assert own[-1] < 0.8 * own[0]
    assert np.allclose(ours, own, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "eta"),
    [("synthetic", 10000, 2e-6), ("mnist", 20000, 2e-4), ("cifar10", 10000, 2e-4)],
)
def test_at_the_papers_size_sizes_and_steps_are_that_codes(name, steps, eta, tmp_path):
    pixels = {"mnist": 784, "cifar10": 3072}.get(name, 0)
    rng = np.random.default_rng(1)
    (tmp_path / "data").mkdir()
    images = {str(k): rng.integers(0, 256, (500, pixels), dtype=np.uint8) for k in range(2)}
    np.savez(tmp_path / "data" / f"{name}.npz", **images)
    words = [f"experiment=ling_fig1_code_{name}", f"paths.output={tmp_path}"]
    for composed in request([*words, "size=paper"]).trials:
        train, data = composed.trial.train, composed.trial.data
        assert (data.n, data.labels, train.steps, train.eta) == (1000, "uniform", steps, eta)
        assert (train.factor_w, train.factor_u, train.factor_a) == ("1/m", "2/d", "1/m")
        assert train.factor_bias * data.bias**2 == pytest.approx(2)
        assert composed.trial.model.width >= 3000
    trial = sweeps.compose([*words, "model.width=30", "data.n=12"])
    data = deq.load(trial.data)
    d = {"synthetic": 64, "mnist": 784, "cifar10": 1024}[name]
    assert data.x.shape == (d + 1, 12)
    norms = torch.linalg.vector_norm(data.x[:d], dim=0)
    torch.testing.assert_close(norms, torch.full((12,), math.sqrt(d / 2)).double())
    assert (data.x >= 0).all()
    assert data.y.min() > 0
    assert data.y.max() < 1
