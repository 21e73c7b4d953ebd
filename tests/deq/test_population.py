"""The population limit and its error bounds: references, quadrature, Monte Carlo."""

import dataclasses
import json
import math
from pathlib import Path

import numpy
import pytest
import torch

from deq.activations.activation import Activation
from deq.activations.builtin import ACTIVATIONS
from deq.data import SphereConfig, load
from deq.theory import dual_activation as dual_module
from deq.theory.dual_activation import dual_activation
from deq.theory.hermite import hermite_series
from deq.theory.population import population

REFERENCE = json.loads((Path(__file__).parent / "population_reference.json").read_text())
SMOOTH = [phi for phi in ACTIVATIONS.values() if phi.smooth]
# Its poles, at 0.16 from the real line, make 2000 terms too few: a bound of 1e-7.
SHARP = Activation(
    name="sharp",
    function=lambda x: torch.tanh(10 * x) / 10,
    derivative=lambda x: 1 - torch.tanh(10 * x) ** 2,
    lipschitz=1.0,
    curvature=40 / (3 * math.sqrt(3)),
    at_zero=0.0,
    smooth=True,
)
RHOS = (-1.0, -0.999999, -0.5, 0.0, 0.3, 0.99, 0.999999, 1.0)
each_smooth = pytest.mark.parametrize("phi", SMOOTH, ids=lambda phi: phi.name)

# The trapezoidal rule in the plane: an error of exp(-2 pi s / (h sqrt q)) for poles at
# distance s, 1e-23 for arctan at q = 4; what is left is the rounding of its sums.
SPACING, ROUNDING = 0.06, 2e-15


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def quadrature(f, q, c, spacing=SPACING):
    """E[f(u) f(v)] at covariances c (k,), by the trapezoidal rule in the plane."""
    g = torch.arange(-12, 12 + spacing / 2, spacing, dtype=torch.float64)
    weight = torch.exp(-g * g / 2) * (spacing / math.sqrt(2 * math.pi))
    result = []
    for rho in (c / q).clamp(-1, 1).tolist():
        across = math.sqrt((1 - rho) * (1 + rho))
        u = math.sqrt(q) * g[:, None]
        v = math.sqrt(q) * (rho * g[:, None] + across * g[None, :])
        result.append(float(weight @ (f(u) * f(v)) @ weight))
    return tensor(result)


def reference(x, phi, sigma_w2, near):
    """q, K, K_dot by Picard iteration on the quadrature; K's iteration starts near K.

    Eight steps of a contraction by 0.1 forget where they start.
    """
    q = 2.0
    for _ in range(60):
        energy = float(quadrature(phi.function, q, tensor([q]))[0])
        q = 2 * (sigma_w2 * energy + 1)
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    unit = x / x.norm(dim=0)
    similarity, gram = (unit[:, i] * unit[:, j]).sum(0), near[i, j]
    for _ in range(8):
        c = (2 * (sigma_w2 * gram + similarity)).clamp(-q, q)
        gram = quadrature(phi.function, q, c)
    return q, (i, j), gram, quadrature(phi.derivative, q, c)


def close_inputs():
    """Columns at random, a pair at correlation 0.999999 and one at -0.999999."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x /= x.norm(dim=0)
    turn = math.sqrt(2e-6)
    x = torch.stack([x[:, 0], x[:, 1], x[:, 0] + turn * x[:, 2], -x[:, 1] + turn * x[:, 2]], dim=1)
    return 2 * x / x.norm(dim=0)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["activation"])
def test_population_against_the_reference(case):
    name = case["activation"]
    result = population(tensor(REFERENCE["data"]["X"]), name, sigma_w2=0.08)
    for ours, theirs in (
        (result.gram, case["K"]),
        (result.gram_dot, case["K_dot"]),
        (result.backward, case["B"]),
    ):
        torch.testing.assert_close(ours, tensor(theirs), atol=1e-12, rtol=0)
    assert result.q == pytest.approx(case["q"], abs=1e-12)
    assert result.lambda_star == pytest.approx(case["lambda_star"], abs=1e-12)
    h = tensor(case["K"]) * (1 + tensor(case["B"]))
    least = float(torch.linalg.eigvalsh(h)[0])
    assert least == pytest.approx(case["lambda_min_K_times_1_plus_B"], abs=1e-12)
    assert result.error < 1e-12
    assert result.resolved


@each_smooth
def test_every_entry_is_within_its_error_bound(phi):
    """Also for nearly parallel pairs; the bounds are below 1e-12."""
    x, sigma_w2 = close_inputs(), 0.08
    result = population(x, phi, sigma_w2=sigma_w2, sigma_a=0.5)
    q, where, gram, gram_dot = reference(x, phi, sigma_w2, result.gram)
    backward = 0.25 * gram_dot / (1 - 2 * sigma_w2 * gram_dot)
    assert abs(result.q - q) <= result.error + ROUNDING
    for ours, exact, error in (
        (result.gram, gram, result.error),
        (result.gram_dot, gram_dot, result.error_dot),
        (result.backward, backward, result.error_backward),
    ):
        assert torch.equal(ours, ours.mT)
        assert float((ours[where] - exact).abs().amax()) <= error + ROUNDING
        assert error < 1e-12


@each_smooth
@pytest.mark.parametrize("q", [1.3, 2.1, 4.0])
def test_dual_and_series_against_quadrature(phi, q):
    """Closed form and Hermite series (of every smooth phi) within their bounds."""
    c = q * tensor(RHOS)
    dual = dual_activation(phi, q, 1.0)
    open_form = dual_activation(dataclasses.replace(phi, dual=None), q, 1.0)
    for kind, f in enumerate((phi.function, phi.derivative)):
        exact = quadrature(f, q, c)
        for form, most in ((dual, 2e-13), (open_form, 1e-8)):  # the second is an own activation
            error = (form.error, form.error_dot)[kind]
            assert error < most
            assert float((form.pair(c)[kind] - exact).abs().amax()) <= error + ROUNDING
            whole = (form.energy, form.energy_dot)[kind]
            assert abs(whole - float(exact[-1])) <= error + ROUNDING


@each_smooth
@pytest.mark.parametrize("terms", [1, 2, 3, 6, 20])
def test_a_short_series_bounds_its_truncation(phi, terms):
    """Even and odd phi, half of whose coefficients vanish, end no sooner.

    The bound is sharp at rho = 1: twice the error at most.
    """
    q, rhos = 2.1, tensor([-0.9, 0.4, 0.9, 1.0])
    exact = quadrature(phi.function, q, q * rhos)
    series = hermite_series(phi.function, q, 1.0, 0.0, max_terms=terms)
    assert len(series.weights) == terms or series.rest < 1e-14
    miss = (series.dual(rhos) - exact).abs()
    for rho, left in zip(rhos.tolist(), miss.tolist(), strict=True):
        assert left <= series.error(abs(rho)) + ROUNDING
    assert series.error(1.0) <= 2 * float(miss[-1]) + 10 * ROUNDING


@pytest.mark.parametrize("name", ["sin", "cos", "tanh", "gaussian"])
def test_a_vanishing_coefficient_does_not_end_a_series(name):
    series = hermite_series(ACTIVATIONS[name].function, 2.1, 0.9, 1e-12)
    assert float(series.weights[:2].amin()) < 1e-30
    assert series.error(0.9) < 2e-12


def test_a_slow_series_reports_a_large_bound():
    """Poles at 0.16: the bound is above 1e-12, the error below the bound."""
    x = close_inputs()
    result = population(x, SHARP, sigma_w2=0.08)
    q, where, gram, _ = reference_fine(x, result)
    assert abs(result.q - q) <= result.error
    assert 1e-12 < result.error < 1e-4
    assert float((result.gram[where] - gram).abs().amax()) <= result.error


def reference_fine(x, result):
    """Like `reference`, on a grid fine enough for SHARP, starting from deq's result."""
    q = result.q
    i, j = torch.triu_indices(x.shape[1], x.shape[1], offset=1)
    unit = x / x.norm(dim=0)
    similarity, gram = (unit[:, i] * unit[:, j]).sum(0), result.gram[i, j]
    for _ in range(4):
        c = 2 * (0.08 * gram + similarity)
        gram = quadrature(SHARP.function, q, c, spacing=0.02)
    energy = float(quadrature(SHARP.function, q, tensor([q]), spacing=0.02)[0])
    return 2 * (0.08 * energy + 1), (i, j), gram, None


def test_a_kinked_phi_declared_smooth_has_a_large_error_bound():
    """ReLU by its series: the claimed error is that of the true one, 1e-5, and above it."""
    relu = ACTIVATIONS["relu"]
    c = 2.1 * tensor(RHOS)
    series = dual_activation(dataclasses.replace(relu, dual=None, smooth=True), 2.1, 1.0)
    exact = relu.dual(2.1, c)
    for kind, error in enumerate((series.error, series.error_dot)):
        miss = float((series.pair(c)[kind] - exact[kind]).abs().amax())
        assert 1e-9 < miss <= error


def test_a_kinked_phi_without_a_closed_form_is_refused():
    phi = dataclasses.replace(ACTIVATIONS["relu"], name="mine", dual=None)
    with pytest.raises(ValueError, match="no population limit of mine") as error:
        population(close_inputs(), phi, sigma_w2=0.08)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("turn", [1e-1, 1e-3, 1e-5, 1e-7])
def test_relu_at_nearly_parallel_pairs(turn):
    """sigma_w2 = 0, where K_dot is 1/2 - angle / 2 pi and the angle is known.

    Its slope is infinite at parallel inputs, and the bound knows.
    """
    x = tensor([[1.0, math.cos(turn)], [0.0, math.sin(turn)]]) * math.sqrt(2)
    result = population(x, "relu", sigma_w2=0.0)
    exact = 0.5 - turn / (2 * math.pi)
    assert abs(float(result.gram_dot[0, 1]) - exact) <= result.error_dot < 1e-14 / turn
    gram = (math.sin(turn) + (math.pi - turn) * math.cos(turn)) / math.pi
    assert abs(float(result.gram[0, 1]) - gram) <= result.error


def test_a_truncation_enlarges_the_bound(monkeypatch):
    x = close_inputs()
    fine = population(x, "arctan", sigma_w2=0.08)
    monkeypatch.setattr(dual_module, "_SERIES_TOL", 1e-6)
    rough = population(x, "arctan", sigma_w2=0.08)
    miss = float((rough.gram - fine.gram).abs().amax())
    assert 1e-8 < miss <= rough.error < 1e-5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dual_activation_against_monte_carlo(name):
    """Half a million samples, 5 standard errors; independent of any grid."""
    phi, q, rho = ACTIVATIONS[name], 2.1, 0.6
    g = torch.randn(2, 500_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, v = q**0.5 * g[0], q**0.5 * (rho * g[0] + math.sqrt(1 - rho**2) * g[1])
    result = dual_activation(phi, q, rho).pair(tensor([q * rho]))
    for f, ours in zip((phi.function, phi.derivative), result, strict=True):
        products = f(u) * f(v)
        error = float(products.std()) / math.sqrt(products.numel())
        assert abs(float(products.mean()) - float(ours[0])) < 5 * error + 1e-12


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_k_dot_is_the_derivative_of_k(name):
    """Central differences of step 1e-5, to 1e-9; kinked activations too."""
    phi, q, h = ACTIVATIONS[name], 2.1, 1e-5
    c = q * tensor([-0.9, -0.2, 0.5, 0.95])
    pair = dual_activation(phi, q, 1.0).pair
    slope = (pair(c + h)[0] - pair(c - h)[0]) / (2 * h)
    torch.testing.assert_close(pair(c)[1], slope, atol=1e-9, rtol=0)


def test_identity_has_no_resolved_lambda_star_beyond_d_inputs():
    """K = X^T X / d times a constant: of rank d, and lambda_star is not resolved."""
    data = load(SphereConfig(n=8, d=5))
    result = population(data.x, "identity", sigma_w2=0.08)
    similarity = data.x.mT @ data.x / 5
    torch.testing.assert_close(result.gram, similarity * 2 / (1 - 0.16), atol=1e-13, rtol=0)
    assert not result.resolved
    few = population(data.x[:, :4], "identity", sigma_w2=0.08)
    assert few.resolved
    parallel = population(data.x[:, [0, 1, 0]], "tanh", sigma_w2=0.08)
    assert not parallel.resolved


@pytest.mark.parametrize("name", ["softplus", "gaussian"])
@pytest.mark.parametrize(("turn", "resolved"), [(1e-3, True), (3e-7, False), (1e-9, False)])
def test_a_least_eigenvalue_near_its_error_is_not_resolved(name, turn, resolved):
    """Two inputs at a small angle: K has the eigenvalue K_11 - K_12, in longdouble.

    At 3e-7 it exceeds its error bound, by less than tenfold.
    """
    x = tensor([[1.0, math.cos(turn)], [0.0, math.sin(turn)]]) * math.sqrt(2)
    result = population(x, name, sigma_w2=0.0)
    g = numpy.arange(-1300, 1301).astype(numpy.longdouble) / 100
    weight = numpy.exp(-g * g / 2) / 100 / numpy.sqrt(2 * numpy.longdouble(math.pi))
    # E[phi'(sqrt(2) g)^2] turn^2, the first term in the angle
    slope = ACTIVATIONS[name].derivative(tensor((math.sqrt(2) * g).astype(float).tolist()))
    exact = float(weight @ slope.numpy() ** 2) * turn**2
    assert abs(result.lambda_star - exact) <= result.lambda_star_error + turn**3
    assert result.lambda_star_error < 1e-12
    assert result.resolved == resolved


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_one_input_and_no_recurrence(name):
    x = torch.ones(4, 1, dtype=torch.float64)
    one = population(x, name, sigma_w2=0.08)
    assert float(one.gram[0, 0]) == pytest.approx((one.q / 2 - 1) / 0.08, abs=1e-13)
    flat = population(load(SphereConfig(n=3, d=4)).x, name, sigma_w2=0.0, sigma_a=2.0)
    assert flat.q == 2
    torch.testing.assert_close(flat.backward, 4 * flat.gram_dot)


def test_a_missing_limit_is_reported():
    x = close_inputs()
    assert population(x, "relu", sigma_w2=0.9).q == pytest.approx(20, rel=1e-12)
    with pytest.raises(ValueError, match="does not exist"):
        population(x, "relu", sigma_w2=1.1)
    with pytest.raises(ValueError, match="does not exist"):
        population(x, "sin", sigma_w2=30.0)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (torch.ones(3, 2, dtype=torch.float64) * 2, "column 0 of x has norm 3.4"),
        (torch.ones(3, 2, dtype=torch.float64) * math.nan, "norm nan"),
        (torch.ones(3, 2), "float64"),
        (torch.ones(3, dtype=torch.float64), "float64"),
        (torch.ones(3, 0, dtype=torch.float64), "float64"),
    ],
)
def test_inputs_must_be_normalised(x, match):
    with pytest.raises(ValueError, match=match):
        population(x, "relu", sigma_w2=0.08)


def test_many_pairs_are_solved_in_parts():
    """More pairs than one part holds; an entry does not depend on the others."""
    data = load(SphereConfig(n=200, d=10))
    whole = population(data.x, "silu", sigma_w2=0.08)
    some = [0, 77, 198, 199]
    part = population(data.x[:, some], "silu", sigma_w2=0.08)
    torch.testing.assert_close(whole.gram[some][:, some], part.gram, atol=1e-13, rtol=0)
    torch.testing.assert_close(whole.gram_dot[some][:, some], part.gram_dot, atol=1e-13, rtol=0)
