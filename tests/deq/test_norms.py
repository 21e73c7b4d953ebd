"""Orthonormal inputs, other norms than sqrt(d), uniform labels: data and infinite-width limit."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from small_trials import config

import deq
from deq.config import ModelConfig
from deq.data import DigitsConfig, NpzConfig, OrthonormalConfig, SphereConfig, load, shape_of
from deq.data.labels import uniform_labels
from deq.theory.layers import layer_limits
from deq.theory.population import population

# Nodes of a trapezoidal rule, which is exact to rounding for smooth integrands.
NODES = np.linspace(-12, 12, 241)
WEIGHTS = np.exp(-(NODES**2) / 2) * (NODES[1] - NODES[0]) / math.sqrt(2 * math.pi)
PHI = {"tanh": np.tanh, "sin": np.sin, "softplus": lambda x: np.logaddexp(0, x)}


def own_limit(x, phi, sigma_w2, rounds=80):
    """K by iteration of its definition, with bivariate quadrature of every pair."""
    d, n = x.shape
    k = np.zeros((n, n))
    for _ in range(rounds):
        c = 2 * (sigma_w2 * k + x.T @ x / d)
        for i in range(n):
            for j in range(i, n):
                root = math.sqrt(c[i, i])
                rest = math.sqrt(max(c[j, j] - c[i, j] ** 2 / c[i, i], 0))
                u = root * NODES
                v = c[i, j] / root * NODES[:, None] + rest * NODES[None, :]
                k[i, j] = k[j, i] = (WEIGHTS * phi(u)) @ phi(v) @ WEIGHTS
    return k


def test_orthonormal_inputs_are_orthogonal_and_of_the_norm_asked_for():
    data = load(OrthonormalConfig(n=4, d=9, norm=0.5, test_n=3, seed=7))
    both = torch.cat([data.x, data.test.x], dim=1)
    assert data.x.shape == (9, 4)
    torch.testing.assert_close(both.mT @ both, 9 / 4 * torch.eye(7).double())
    assert torch.equal(data.y, load(OrthonormalConfig(n=4, d=9, seed=7)).y)
    assert not torch.equal(data.y, load(OrthonormalConfig(n=4, d=9, seed=8)).y)
    y = load(OrthonormalConfig(n=1000, d=1000)).y
    assert abs(float(y.mean())) < 0.1
    assert float(y.var()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("norm", [0.25, 3.0])
def test_every_data_set_has_the_norm_asked_for(norm, tmp_path):
    rng = np.random.default_rng(5)
    np.savez(tmp_path / "own.npz", x=rng.standard_normal((5, 6)), y=np.arange(6.0))
    for data in (
        DigitsConfig(n=6, test_n=4),
        SphereConfig(n=6, d=5, test_n=4),
        OrthonormalConfig(n=6, d=11, test_n=4),
        NpzConfig(path=str(tmp_path / "own.npz"), test_n=2),
    ):
        usual, other = load(data), load(dataclasses.replace(data, norm=norm))
        for ours, theirs in ((usual, other), (usual.test, other.test)):
            torch.testing.assert_close(norm * ours.x, theirs.x, rtol=1e-14, atol=0)
            assert torch.equal(ours.y, theirs.y)
        assert shape_of(dataclasses.replace(data, norm=norm)) == tuple(usual.x.shape)
        biased = dataclasses.replace(data, norm=norm, bias=0.25)
        d, n = usual.x.shape
        assert shape_of(biased) == (d + 1, n)
        for ours, theirs in ((load(biased), other), (load(biased).test, other.test)):
            assert torch.equal(ours.x[:d], theirs.x)
            assert (ours.x[d:] == 0.25).all()
            assert ours.x.shape == (d + 1, len(ours.y))


def test_uniform_labels_are_drawn_from_their_seed_and_nothing_else_changes(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(5).standard_normal((5, 6)), y=np.ones(6))
    several = (
        DigitsConfig(n=4, test_n=2),
        SphereConfig(n=4, d=7, test_n=2),
        OrthonormalConfig(n=4, d=7, test_n=2),
        NpzConfig(path=str(tmp_path / "own.npz"), test_n=2),
    )
    drawn = []
    for data in several:
        usual = load(data)
        uniform = load(dataclasses.replace(data, labels="uniform", label_seed=9))
        assert torch.equal(usual.x, uniform.x)
        assert torch.equal(usual.test.x, uniform.test.x)
        assert not torch.equal(usual.y, uniform.y)
        assert len(uniform.test.y) == len(usual.test.y) == 2
        drawn.append(torch.cat([uniform.y, uniform.test.y]))
    assert all(torch.equal(labels, drawn[0]) for labels in drawn)
    y = np.sort(uniform_labels(0, [4000, 5]).numpy()[:4000])
    # Kolmogorov's distance from U(0, 1); 1.95 / sqrt(n) has a probability of 0.001.
    assert np.abs(y - np.arange(0.5, 4000) / 4000).max() < 1.95 / math.sqrt(4000)
    assert not torch.equal(uniform_labels(0, [4]), uniform_labels(1, [4]))
    inputs = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(uniform_labels(0, [4]), inputs)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: OrthonormalConfig(n=5, d=4), "n=5: only d=4 vectors"),
        (lambda: OrthonormalConfig(n=3, d=4, test_n=2), "n=3 and test_n=2: only d=4"),
        (lambda: OrthonormalConfig(seed=-1), "seed must be in"),
        (lambda: SphereConfig(norm=0.0), "norm must be finite and above 0, not 0.0"),
        (lambda: DigitsConfig(norm=math.nan), "norm must be finite"),
        (lambda: DigitsConfig(label_seed=3), "label_seed has no meaning with labels=own"),
        (lambda: DigitsConfig(labels="uniform", label_seed=-2), "label_seed must be in .* not -2"),
    ],
)
def test_wrong_values_are_refused_in_one_line(build, match):
    with pytest.raises(ValueError, match=match) as error:
        build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", PHI)
@pytest.mark.parametrize("norm", [0.3, 1.0, 1.6])
def test_the_limit_is_that_of_the_norm(name, norm):
    """Within its own error bound of an independent quadrature, and the limit of its layers."""
    x = load(SphereConfig(n=3, d=4, seed=6, norm=norm)).x
    limit = population(x, name, sigma_w2=0.07, norm=2 * norm)
    own = own_limit(x.numpy(), PHI[name], 0.07, rounds=25)
    assert np.abs(limit.gram.numpy() - own).max() < limit.error + 1e-13
    assert limit.q == pytest.approx(2 * (0.07 * own[0, 0] + norm**2), rel=1e-13)
    for _, layer in zip(range(25), layer_limits(x, deq.ACTIVATIONS[name], 0.07), strict=False):
        last = layer
    assert np.abs(last.numpy() - own).max() < 1e-12
    least = np.linalg.eigvalsh(own)[0]
    assert abs(limit.lambda_star - least) <= limit.lambda_star_error + 1e-14


def test_relu_is_homogeneous():
    x = load(SphereConfig(n=4, d=6, seed=1)).x
    one = population(x, "relu", sigma_w2=0.08)
    other = population(0.2 * x, "relu", sigma_w2=0.08, norm=0.2 * math.sqrt(6))
    torch.testing.assert_close(other.gram, 0.04 * one.gram, rtol=1e-12, atol=0)
    torch.testing.assert_close(other.gram_dot, one.gram_dot, rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", [1.0, 2.0 + 1e-6])
def test_columns_of_another_norm_than_stated_are_refused(norm):
    x = load(OrthonormalConfig(n=2, d=4)).x
    with pytest.raises(ValueError, match=r"column 0 of x has norm 2, not .*: normalise the inputs"):
        population(x, "relu", sigma_w2=0.08, norm=norm)
    with pytest.raises(ValueError, match=r"not sqrt\(d\) = 2: normalise"):
        population(x / 2, "relu", sigma_w2=0.08)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_wide_networks_near_the_limit_of_their_norm(name):
    """||G(0)/m - K||_F falls by about four with sixteen times the width; H nears H_inf."""
    data, errors = OrthonormalConfig(n=5, d=8, norm=0.4), []
    for width in (100, 1600):
        trial = config(data=data, model=ModelConfig(width, name), seed=3)
        forecast = deq.forecast(trial)
        summary, notes = forecast.theory()
        errors.append(summary["theory/gram_error"] / float(torch.linalg.norm(forecast.limit.gram)))
        assert "theory/lambda_star" in summary, notes
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.1
    least = (forecast.linearized.eigenvalues[0], forecast.population.eigenvalues[0])
    assert float(least[0]) == pytest.approx(float(least[1]), rel=0.1)


def test_the_theory_of_unequal_norms_is_left_out_with_its_reason():
    data = load(SphereConfig(n=3, d=4))
    data.x[:, 1] *= 2
    summary, notes = deq.forecast(config(model=ModelConfig(30, "tanh")), data).theory()
    assert "theory/lambda_star" not in summary
    assert "column 1 of x has norm 4, not 2: normalise the inputs" in notes["theory/lambda_star"]
