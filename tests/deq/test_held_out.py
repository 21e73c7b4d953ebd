"""Held-out samples: which they are, and the losses there, recomputed in numpy."""

import numpy as np
import pytest
import torch
from small_trials import config, finished

import deq
from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.data import DigitsConfig, NpzConfig, SphereConfig, load, shape_of
from deq.training.comparison import compare, train
from deq.training.gradient_descent import GradientDescent

PHI = {
    "tanh": (np.tanh, lambda q: 1 - np.tanh(q) ** 2),
    "softplus": (lambda q: np.logaddexp(0, q), lambda q: 1 / (1 + np.exp(-q))),
}


def own_network(name, w, u, a, x):
    """Equilibria, predictions and Jacobian of a network, by plain iteration in numpy."""
    phi, slope = PHI[name]
    z = np.zeros((len(w), x.shape[1]))
    for _ in range(400):
        z = phi(w @ z + u @ x)
    mask, rows = slope(w @ z + u @ x), []
    for i in range(x.shape[1]):
        r = mask[:, i] * np.linalg.solve(np.eye(len(w)) - w.T * mask[:, i], a)
        rows.append(
            np.concatenate([np.outer(r, z[:, i]).ravel(), np.outer(r, x[:, i]).ravel(), z[:, i]])
        )
    return a @ z, np.array(rows)


def own_start(trial, d):
    """The first network of a trial's seed, as numpy arrays."""
    stream, m = torch.Generator().manual_seed(trial.seed), trial.model.width
    w, u = (
        np.stack([torch.randn(k, dtype=torch.float64, generator=stream).numpy() for _ in range(m)])
        for k in (m, d)
    )
    a = torch.randn(m, dtype=torch.float64, generator=stream).numpy()
    return w * np.sqrt(2 * trial.model.sigma_w2 / m), u * np.sqrt(2 / d), a / np.sqrt(m)


@pytest.mark.parametrize(("name", "integrator"), [("tanh", "steps"), ("softplus", "windows")])
def test_the_losses_are_those_of_own_gradient_descent_and_regression(name, integrator):
    data = SphereConfig(n=5, d=7, seed=2, test_n=4)
    trial = config(
        data=data,
        model=ModelConfig(20, name),
        train=TrainConfig(300, integrator=integrator),
    )
    both = load(data)
    x, y, z, t = (part.numpy() for part in (both.x, both.y, both.test.x, both.test.y))
    outcome = train(trial)
    w, u, a = own_start(trial, 7)
    eta, m, steps = outcome.summary["train/eta"], 20, outcome.trajectory["step"][-1]
    yhat, jacobian = own_network(name, w, u, a, x)
    other, jacobian_other = own_network(name, w, u, a, z)
    e, linear = yhat - y, other.copy()
    for _ in range(int(steps)):  # the linearised network, step by step
        linear -= eta * jacobian_other @ (jacobian.T @ e)
        e = e - eta * jacobian @ (jacobian.T @ e)
    for _ in range(int(steps)):
        yhat, jacobian = own_network(name, w, u, a, x)
        step = eta * jacobian.T @ (yhat - y)
        w = w - step[: m * m].reshape(m, m)
        u = u - step[m * m : m * m + m * 7].reshape(m, 7)
        a = a - step[m * m + m * 7 :]
    trained = own_network(name, w, u, a, z)[0]
    rel = 1e-8 if integrator == "steps" else 1e-4
    assert outcome.summary["test/loss"] == pytest.approx(np.mean((trained - t) ** 2) / 2, rel=rel)
    linearized = outcome.summary["test/loss_linearized"]
    assert linearized == pytest.approx(np.mean((linear - t) ** 2) / 2, rel=1e-8)


def test_kernel_regression_uses_the_limits_of_erf():
    """K of erf in closed form: arcsin kernels, iterated to their fixed point in numpy."""
    data = SphereConfig(n=6, d=9, seed=5, test_n=3)
    trial = config(data=data, model=ModelConfig(16, "erf"))
    both = load(data)
    x = np.concatenate([both.x.numpy(), both.test.x.numpy()], axis=1)
    y, t = both.y.numpy(), both.test.y.numpy()
    s, cos = trial.model.sigma_w2, x.T @ x / 9
    q, c = 2.0, 2 * cos
    for _ in range(200):
        q = 2 * (s * 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)) + 1)
    for _ in range(200):
        k = 2 / np.pi * np.arcsin(2 * c / (1 + 2 * q))
        c = 2 * (s * k + cos)
    dot = 4 / np.pi / np.sqrt((1 + 2 * q) ** 2 - 4 * c**2)
    backward = dot / (1 - 2 * s * dot)
    tangent = 16 * k * (1 + backward) + x.T @ x * backward
    summary = train(trial).summary
    for metric, kernel in (("test/loss_gram", k), ("test/loss_population", tangent)):
        fitted = kernel[6:, :6] @ np.linalg.solve(kernel[:6, :6], y)
        assert summary[metric] == pytest.approx(np.mean((fitted - t) ** 2) / 2, rel=1e-9)


def test_held_out_samples_follow_the_others(tmp_path):
    plain, more = load(DigitsConfig(n=9)), load(DigitsConfig(n=9, test_n=5))
    assert torch.equal(plain.x, more.x)
    assert torch.equal(plain.y, more.y)
    whole = load(DigitsConfig(n=14)).y
    assert more.test.y.tolist() == [-1, -1, -1, 1, 1]
    assert len(whole) == 14
    norms = torch.linalg.vector_norm(more.test.x, dim=0)
    assert torch.allclose(norms, torch.full_like(norms, 8.0))
    columns = np.random.default_rng(0).normal(size=(4, 7))
    np.savez(tmp_path / "own.npz", x=columns, y=np.arange(7.0))
    for own in (NpzConfig(path=f"{tmp_path}/own.npz", n=n, test_n=2) for n in (3, None)):
        data = load(own)
        assert shape_of(own) == tuple(data.x.shape)
        assert data.test.y.tolist() == ([3.0, 4.0] if own.n else [5.0, 6.0])
        direction = columns[:, int(data.test.y[0])]
        expected = 2 * direction / np.linalg.norm(direction)
        assert np.allclose(data.test.x[:, 0].numpy(), expected)
    sphere, longer = load(SphereConfig(n=4, d=3)), load(SphereConfig(n=4, d=3, test_n=2))
    assert torch.equal(sphere.x, longer.x)
    assert sphere.test is None
    assert torch.equal(sphere.y, longer.y)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            lambda path: DigitsConfig(n=300, test_n=100),
            r"data.n=300 and data.test_n=100 are larger",
        ),
        (lambda path: NpzConfig(path=path, n=5, test_n=3), "data.n=5 and data.test_n=3 are larger"),
        (lambda path: NpzConfig(path=path, test_n=7), "data.test_n=7 are larger"),
        (lambda path: NpzConfig(path=path, n=2, test_n=5), "columns of x that are zero: 6;"),
        (lambda path: SphereConfig(test_n=-1), "test_n must be at least 0, not -1"),
    ],
)
def test_too_many_are_refused(tmp_path, data, match):
    np.savez(tmp_path / "own.npz", x=np.eye(6, 7), y=np.arange(7.0))
    for read in (load, shape_of):
        with pytest.raises(ValueError, match=match):
            read(data(f"{tmp_path}/own.npz"))


def test_a_checkpoint_keeps_what_is_known_at_held_out_samples():
    data = SphereConfig(n=4, d=5, test_n=3)
    trial = config(data=data, solver=SolverConfig(tol=1e-12), train=TrainConfig(12))
    whole = finished(GradientDescent([trial], [load(data)])).runs[0]
    first = GradientDescent([trial], [load(data)])
    for step in first:
        if step == 5:
            break
    second = finished(GradientDescent.restored([trial], [load(data)], first.state())).runs[0]
    names = [name for name in compare(whole).summary if name.startswith("test/")]
    assert len(names) == 4
    assert all(compare(whole).summary[n] == compare(second).summary[n] for n in names)


def test_the_distance_over_delta_is_that_of_the_block_that_moved_most():
    trial = config(model=ModelConfig(30, "tanh", sigma_w2=0.01))
    descent = finished(GradientDescent([trial], [load(trial.data)], keep_weights=True))
    run, start = descent.runs[0], own_start(trial, 4)
    ends = (run.weights.w, run.weights.u, run.weights.a)
    moved = [np.linalg.norm(x.numpy() - x0) for x, x0 in zip(ends, start, strict=True)]
    summary = compare(run).summary
    expected = max(moved) / summary["theory/delta"]
    assert summary["theory/distance_over_delta"] == pytest.approx(expected, rel=1e-9)
    assert deq.memory(trial, 4, 5) == deq.memory(config(model=trial.model), 4, 5)
