"""Equivalents of K in high dimension, recomputed with mpmath and numpy."""

import math

import mpmath
import numpy as np
import pytest
import torch
from small_trials import config

import deq
from deq.activations.lookup import activation
from deq.config import DiagnosticsConfig, ModelConfig, TrainConfig
from deq.data import SphereConfig, load
from deq.data.dataset import Dataset
from deq.theory.high_dimension import classes_of, coefficients
from deq.theory.population import population

SIGMA_W2 = 0.08
DUALS = {
    "relu": lambda q, c, m: (m.sqrt(q * q - c * c) + (m.pi - m.acos(c / q)) * c) / (2 * m.pi),
    "cos": lambda q, c, m: m.exp(-q) * m.cosh(c),
    "erf": lambda q, c, m: 2 / m.pi * m.asin(2 * c / (1 + 2 * q)),
}


class Numpy:
    """numpy under mpmath's names."""

    sqrt, exp, cosh, pi = staticmethod(np.sqrt), staticmethod(np.exp), staticmethod(np.cosh), np.pi

    @staticmethod
    def acos(x):
        return np.arccos(np.clip(x, -1, 1))

    @staticmethod
    def asin(x):
        return np.arcsin(x)


def own_variance(name, m):
    q = 2 * m.sqrt(1)
    for _ in range(200):
        q = 2 * (SIGMA_W2 * DUALS[name](q, q, m) + 1)
    return q


@pytest.mark.parametrize("name", DUALS)
def test_coefficients_are_the_taylor_coefficients_of_the_fixed_point(name):
    """With 40 digits, from differences of the fixed point itself."""
    limit = population(load(SphereConfig(n=5, d=6)).x, name, sigma_w2=SIGMA_W2)
    ours = coefficients(limit, activation(name), SIGMA_W2)
    with mpmath.workdps(40):
        q = own_variance(name, mpmath)

        def fixed_point(t):
            k = mpmath.mpf(0)
            for _ in range(80):
                k = DUALS[name](q, 2 * (SIGMA_W2 * k + t), mpmath)
            return k

        expected = [float(value) for value in mpmath.taylor(fixed_point, 0, 2)]
    assert ours.constant == pytest.approx(expected[0], abs=1e-15)
    assert ours.linear == pytest.approx(expected[1], rel=1e-12, abs=1e-14)
    assert ours.quadratic == pytest.approx(expected[2], rel=1e-8, abs=1e-10)
    assert ours.diagonal == pytest.approx((float(q) / 2 - 1) / SIGMA_W2, rel=1e-12)
    assert ours.constant + ours.linear + ours.quadratic <= ours.diagonal


def mixture(d, seed):
    """Two Gaussian classes that differ in mean and covariance, of one norm, n = d."""
    rng, half = np.random.default_rng(seed), d // 2
    x = rng.normal(size=(d, d))
    x[:half, :half] *= 2
    x[0] += np.where(np.arange(d) < half, 2.0, -2.0)
    y = np.where(np.arange(d) < half, -1.0, 1.0)
    return x / np.linalg.norm(x, axis=0) * math.sqrt(d), y


def own_errors(name, x, y):
    """Return both spectral norms, with K from plain iteration and T from loops over classes."""
    d, n = x.shape
    cos, q = x.T @ x / d, own_variance(name, Numpy)
    np.fill_diagonal(cos, 1.0)
    k = np.zeros((n, n))
    for _ in range(60):
        k = DUALS[name](q, np.minimum(2 * (SIGMA_W2 * k + cos), q), Numpy)
    first = 0.0
    for _ in range(60):
        first = DUALS[name](q, 2 * SIGMA_W2 * first, Numpy)

    def fixed_point(t):
        value = 0.0
        for _ in range(60):
            value = DUALS[name](q, 2 * (SIGMA_W2 * value + t), Numpy)
        return value

    h = 1e-3
    up, down = fixed_point(h), fixed_point(-h)
    linear, quadratic = (up - down) / (2 * h), (up + down - 2 * first) / (2 * h * h)
    squares = np.zeros((n, n))
    for one in (-1, 1):
        for other in (-1, 1):
            pairs = [(i, j) for i in range(n) for j in range(n) if y[i] == one and y[j] == other]
            mean = np.mean([cos[i, j] ** 2 for i, j in pairs if i != j])
            for i, j in pairs:
                squares[i, j] = mean
    diagonal = k[0, 0]
    matrix = first + linear * cos + quadratic * squares
    matrix += (diagonal - first - linear) * np.eye(n)
    rest = diagonal - first - linear - quadratic
    shallow = first + linear * cos + quadratic * cos**2 + rest * cos**3
    return [np.abs(np.linalg.eigvalsh(k - other)).max() for other in (matrix, shallow)]


def recorded(name, x, y):
    trial = config(
        data=SphereConfig(n=len(y), d=len(x)),
        model=ModelConfig(8, name, sigma_w2=SIGMA_W2),
        train=TrainConfig(steps=1),
        diagnostics=DiagnosticsConfig(high_dimension=True),
    )
    return deq.train(trial, Dataset(torch.from_numpy(x), torch.from_numpy(y))).summary


@pytest.mark.parametrize("name", ["relu", "cos"])
def test_a_mixture_of_two_classes_is_recorded_as_recomputed(name):
    x, y = mixture(32, 1)
    summary = recorded(name, x, y)
    matrix, shallow = own_errors(name, x, y)
    assert summary["theory/equivalent_error"] == pytest.approx(matrix, rel=1e-4)
    assert summary["theory/shallow_error"] == pytest.approx(shallow, rel=1e-4)


def test_the_errors_fall_with_the_dimension_as_derived():
    """K - matrix as d^(-1/2), K - shallow as 1 / d, for two classes; no class: the stated size."""
    points = {"equivalent": [], "shallow": []}
    for d in (48, 96, 192, 384):
        summary = recorded("relu", *mixture(d, d))
        for name, pairs in points.items():
            pairs.append((d, summary[f"theory/{name}_error"]))
    laws = {name: deq.power_law(*zip(*pairs, strict=True)) for name, pairs in points.items()}
    assert laws["equivalent"].exponent == pytest.approx(-0.5, abs=0.12)
    assert laws["shallow"].exponent == pytest.approx(-1.0, abs=0.12)
    sphere = load(SphereConfig(n=300, d=300))
    summary = recorded("relu", sphere.x.numpy(), sphere.y.numpy())
    claimed = summary["theory/equivalent_error_isotropic"]
    assert summary["theory/equivalent_error"] == pytest.approx(claimed, rel=0.1)


def test_the_shallow_kernel_is_that_of_a_network_with_a_polynomial_activation():
    """E[psi(u) psi(v)] by a quadrature that is exact for polynomials."""
    limit = population(load(SphereConfig(n=5, d=6)).x, "softplus", sigma_w2=SIGMA_W2)
    computed = coefficients(limit, activation("softplus"), SIGMA_W2)
    rest = computed.diagonal - computed.constant - computed.linear - computed.quadratic
    parts = [computed.constant, computed.linear, computed.quadratic, rest]
    scaled = [math.sqrt(p / math.factorial(r)) for r, p in enumerate(parts)]
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    u, v = nodes[:, None], nodes[None, :]
    t = 0.37
    psi = [
        np.polynomial.hermite_e.hermeval(g, scaled) for g in (u, t * u + math.sqrt(1 - t * t) * v)
    ]
    expected = (weights[:, None] * weights[None, :] * psi[0] * psi[1]).sum()
    ours = computed.shallow(torch.tensor([[1.0, t], [t, 1.0]], dtype=torch.float64))
    assert float(ours[0, 1]) == pytest.approx(expected, rel=1e-12)
    assert float(ours[0, 0]) == pytest.approx(computed.diagonal, rel=1e-12)


def test_labels_of_few_values_are_classes():
    few, many = torch.tensor([3.0, -1.0, 3.0]), torch.arange(11.0)
    assert classes_of(few).tolist() == [1, 0, 1]
    assert classes_of(many).tolist() == [0] * 11
    assert not [name for name in deq.train(config()).summary if "equivalent" in name]
