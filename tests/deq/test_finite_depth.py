"""Networks of finite depth, recomputed in numpy: loops over layers, and arcsine kernels."""

import math

import numpy as np
import pytest
import torch
from small_trials import config

import deq
from deq.activations.lookup import activation
from deq.config import DiagnosticsConfig, ModelConfig, SolverConfig, TrainConfig
from deq.data import SphereConfig, load
from deq.theory.layers import layer_limits
from deq.theory.population import limit_of
from deq.training.finite_depth import kernel_gap

DATA = SphereConfig(n=6, d=8, seed=4)


def own_layers(x, sigma_w2, depth):
    """K^(l) of erf by its closed form, layer by layer, scalars in Python."""
    n, layers = x.shape[1], []
    cos = x.T @ x / x.shape[0]
    k = [[0.0] * n for _ in range(n)]
    for _ in range(depth):
        q = 2 * (sigma_w2 * k[0][0] + 1)
        k = [
            [
                2 / math.pi * math.asin(2 * (2 * (sigma_w2 * k[i][j] + cos[i, j])) / (1 + 2 * q))
                for j in range(n)
            ]
            for i in range(n)
        ]
        layers.append(np.array(k))
    return layers


def own_draws(trial, d):
    """Generator of the networks of a trial's seed, W and U as numpy arrays."""
    stream, m = torch.Generator().manual_seed(trial.seed), trial.model.width

    def rows(count, length):
        drawn = [torch.randn(length, dtype=torch.float64, generator=stream) for _ in range(count)]
        return np.stack([row.numpy() for row in drawn])

    while True:
        w, u, a = rows(m, m), rows(m, d), rows(1, m)[0]
        scale = math.sqrt(2 * trial.model.sigma_w2 / m)
        yield w * scale, u * math.sqrt(2 / d), a / math.sqrt(m)


@pytest.fixture(scope="module")
def both():
    """(trial, its inputs, what the library says of it at depths to 14)."""
    trial = config(data=DATA, model=ModelConfig(40, "erf", sigma_w2=0.05), seed=3)
    return trial, load(DATA).x.numpy(), deq.finite_depth(trial, 14)


def test_limits_are_those_of_the_arcsine_kernel(both):
    trial, x, ours = both
    layers = own_layers(x, 0.05, 80)
    k = layers[-1]
    expected = [np.linalg.norm(layer - k) / np.linalg.norm(k) for layer in layers[:14]]
    assert np.allclose(ours.change_limit, expected, rtol=1e-6, atol=1e-14)
    least = [np.linalg.eigvalsh(layer)[0] for layer in layers[:14]]
    assert np.allclose(ours.least_limit, least, atol=1e-13)
    assert ours.lambda_star == pytest.approx(np.linalg.eigvalsh(k)[0], abs=1e-12)
    # Geometric: no slower than the stated factor.
    assert 0 < ours.factor_limit < ours.contraction_limit
    assert trial.model.sigma_w2 * 2 * 4 / math.pi == pytest.approx(ours.contraction_limit)


def test_grams_are_those_of_loops_over_layers(both):
    trial, x, ours = both
    erf, networks = np.vectorize(math.erf), own_draws(trial, 8)
    w, u, _ = next(networks)
    z = np.zeros((40, 6))
    tied, untied, limits = [], [], own_layers(x, 0.05, 14)
    for _ in range(60):
        z = erf(w @ z + u @ x)
        tied.append(z.T @ z)
    g = tied[-1]
    z = erf(u @ x)
    for _ in range(14):
        untied.append(z.T @ z)
        z = erf(next(networks)[0] @ z + u @ x)
    change = [np.linalg.norm(layer - g) / np.linalg.norm(g) for layer in tied[:14]]
    assert np.allclose(ours.change, change, rtol=1e-6, atol=1e-13)
    for name, grams in (("", tied[:14]), ("_untied", untied)):
        errors = [np.linalg.norm(g / 40 - k) for g, k in zip(grams, limits, strict=True)]
        assert np.allclose(getattr(ours, f"error{name}"), errors, rtol=1e-9)
        least = [np.linalg.eigvalsh(g)[0] for g in grams]
        assert np.allclose(getattr(ours, f"least{name}"), least, rtol=1e-8)
    assert ours.factor < ours.contraction < 1
    lambda_0 = np.linalg.eigvalsh(g)[0]
    for cut, room in ((ours.cut_half, 0.5), (ours.cut_close, 0.01)):
        least = [np.linalg.eigvalsh(g)[0] for g in tied]
        outside = [
            depth
            for depth, value in enumerate(least, 1)
            if (value < lambda_0 / 2 if room == 0.5 else abs(value - lambda_0) > room * lambda_0)
        ]
        assert cut == max(outside, default=0) + 1


@pytest.mark.parametrize("activation", ["relu", "tanh", "cos", "softplus"])
def test_limits_tend_to_the_population_gram(activation):
    trial = config(data=DATA, model=ModelConfig(24, activation))
    ours = deq.finite_depth(trial, 25)
    assert ours.change_limit[-1] < 1e-9
    assert ours.least_limit[-1] == pytest.approx(ours.lambda_star, abs=1e-9)
    assert ours.cut_close is None or ours.cut_close >= (ours.cut_half or 1)


@pytest.mark.parametrize("name", ["tanh", "relu", "cos"])
def test_the_limit_does_not_depend_on_the_start(name):
    """K of another sigma_w2 is another one, and is told apart."""
    x, model = load(SphereConfig(n=6, d=4)).x, ModelConfig(64, name, sigma_w2=0.05)
    limit = limit_of(model, x)
    assert kernel_gap(x, model, limit) < 1e-11
    other = ModelConfig(64, name, sigma_w2=0.06)
    assert kernel_gap(x, other, limit) > 1e-3
    first = next(layer_limits(x, activation(name), 0.05, 10 * (x.mT @ x) / 4))
    q = 2 * (0.05 * 10 + 1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    energy = weights @ activation(name).function(torch.from_numpy(q**0.5 * nodes)).numpy() ** 2
    assert float(first[0, 0]) == pytest.approx(energy / weights.sum(), rel=1e-6)


def test_no_depth_is_refused():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        deq.finite_depth(config(), 0)


def own_factor(changes):
    """Mean factor per layer over the last half of the changes above 1e-8."""
    kept = [change for change in changes if change > 1e-8]
    kept = kept[len(kept) // 2 :]
    return (kept[-1] / kept[0]) ** (1 / (len(kept) - 1))


def test_a_trial_records_the_factors_of_its_own_network_and_of_the_limit(both):
    trial, x, _ = both
    erf, (w, u, a) = np.vectorize(math.erf), next(own_draws(trial, 8))
    z, tied = np.zeros((40, 6)), []
    for _ in range(60):
        z = erf(w @ z + u @ x)
        tied.append(z.T @ z)
    deep = deq.TrialConfig(
        trial.data,
        trial.model,
        TrainConfig(steps=1),
        diagnostics=DiagnosticsConfig(depth=14),
        seed=trial.seed,
    )
    summary, g = deq.train(deep).summary, tied[-1]
    limits = own_layers(x, 0.05, 80)
    for end, grams, last in (("", tied, g), ("_limit", limits, limits[-1])):
        change = [np.linalg.norm(layer - last) / np.linalg.norm(last) for layer in grams[:14]]
        assert summary[f"theory/depth_factor{end}"] == pytest.approx(own_factor(change), rel=1e-6)
    bound = 2 / math.sqrt(math.pi) * np.linalg.norm(w, 2)
    assert summary["theory/depth_bound"] == pytest.approx(bound, rel=1e-9)
    assert summary["theory/depth_bound_limit"] == pytest.approx(0.4 / math.pi)
    least = [np.linalg.eigvalsh(layer)[0] for layer in tied]
    outside = [depth for depth, value in enumerate(least, 1) if value < least[-1] / 2]
    assert summary["theory/depth_half"] == max(outside, default=0) + 1
    errors = [np.linalg.norm(layer / 40 - k) for layer, k in zip(tied, limits, strict=False)]
    assert summary["theory/depth_error"] == pytest.approx(max(errors[:14]), rel=1e-9)
    for depth in (1, 2, 4):
        error = np.linalg.norm(tied[depth - 1] / 40 - limits[-1])
        assert summary[f"theory/depth_error_{depth}"] == pytest.approx(error, rel=1e-9)
    outputs, diagonal = a @ z, np.diag(g) / 40
    for name, values in (("output", outputs**2), ("gram_diagonal", diagonal)):
        end = "_fourth" if name == "output" else "_square"
        first = f"theory/{name}{'_square' if name == 'output' else ''}"
        assert summary[first] == pytest.approx(values.mean(), rel=1e-7)
        assert summary[f"theory/{name}{end}"] == pytest.approx((values**2).mean(), rel=1e-7)
    shallow = deq.train(config(diagnostics=DiagnosticsConfig(depth=1)))
    assert "raise diagnostics.depth" in shallow.notes["theory/depth_factor"]
    assert not [name for name in deq.train(config()).summary if "depth" in name]


def test_the_factors_do_not_depend_on_the_dtype_of_the_training():
    parts = {"model": ModelConfig(48, "tanh"), "diagnostics": DiagnosticsConfig(depth=16)}
    short, wide = (
        deq.train(config(**parts, dtype=dtype, solver=SolverConfig(tol=1e-5))).summary
        for dtype in ("float32", "float64")
    )
    for name in ("factor", "bound", "factor_limit", "bound_limit"):
        key = f"theory/depth_{name}"
        assert short[key] == pytest.approx(wide[key], rel=1e-4)


OWN = """
from deq.activations.activation import Activation
raised = Activation(
    "raised", lambda x: 6 + (1 + x * x).sqrt(), lambda x: x / (1 + x * x).sqrt(), 1.0, 1.0, 7.0,
    smooth=True,
)
"""


@pytest.mark.slow
def test_variances_converge_more_slowly_than_entries_where_phi_of_0_is_not_0(tmp_path, monkeypatch):
    (tmp_path / "raised_up.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    model = ModelConfig(16, "raised_up:raised", sigma_w2=0.03)
    ours = deq.finite_depth(config(data=DATA, model=model), 30)
    assert 2 * 0.03 < ours.factor_limit < ours.contraction_limit
    assert ours.contraction_limit == pytest.approx(math.sqrt(2 * 0.03))


@pytest.mark.parametrize("depth", [-1, 10_001])
def test_a_depth_outside_its_range_is_refused(depth):
    with pytest.raises(ValueError, match=r"depth must be in 0 \.\. 10000"):
        DiagnosticsConfig(depth=depth)
