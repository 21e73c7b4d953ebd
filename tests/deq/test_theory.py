"""Population limit, spectra, fixed points, rates: against references and closed forms."""

import json
import math
from pathlib import Path

import pytest
import torch

from deq.activations import ACTIVATIONS
from deq.convergence import Initial, initial_condition
from deq.data import SphereConfig, load
from deq.hermite import hermite_series
from deq.model import ModelConfig
from deq.population import population
from deq.rates import bound_rate, fit_rate, linearized_log_loss
from deq.spectrum import operator_norm

REFERENCE = json.loads((Path(__file__).parent / "population_reference.json").read_text())
NAMES = ("relu", "tanh")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: case["activation"])
def test_population_against_the_reference(case):
    tol = 1e-12 if case["activation"] == "relu" else 1e-9
    found = population(tensor(REFERENCE["data"]["X"]), case["activation"], sigma_w2=0.08)
    for ours, theirs in (
        (found.gram, case["K"]),
        (found.gram_dot, case["K_dot"]),
        (found.backward, case["B"]),
    ):
        torch.testing.assert_close(ours, tensor(theirs), atol=tol, rtol=0)
    assert found.q == pytest.approx(case["q"], abs=tol)
    assert found.lambda_star == pytest.approx(case["lambda_star"], abs=tol)
    assert found.error < tol
    assert found.resolved


@pytest.mark.parametrize("name", NAMES)
def test_dual_activation_against_monte_carlo(name):
    """Two million samples, 5 standard errors."""
    phi, q, rho = ACTIVATIONS[name], 2.1, 0.6
    g = torch.randn(2, 2_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, v = q**0.5 * g[0], q**0.5 * (rho * g[0] + math.sqrt(1 - rho**2) * g[1])
    for f, kind in ((phi.function, 0), (phi.derivative, 1)):
        products = f(u) * f(v)
        if phi.dual is not None:
            exact = float(phi.dual(q, tensor(q * rho))[kind])
        else:
            exact = float(hermite_series(f, q, rho, 1e-12).dual(tensor(rho)))
        error = float(products.std()) / math.sqrt(products.numel())
        assert abs(float(products.mean()) - exact) < 5 * error


def test_inputs_must_be_normalised():
    with pytest.raises(ValueError, match="norm"):
        population(torch.ones(3, 2, dtype=torch.float64) * 2, "relu", sigma_w2=0.08)


@pytest.mark.parametrize(
    ("batch", "rows", "columns"), [(1, 7, 7), (3, 40, 11), (2, 5, 1), (2, 80, 80)]
)
def test_operator_norm(batch, rows, columns):
    w = torch.randn(
        batch, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    exact = torch.linalg.matrix_norm(w, ord=2)
    torch.testing.assert_close(operator_norm(w), exact, rtol=1e-9, atol=0)


def test_operator_norm_of_a_batch_with_one_of_low_rank():
    generator = torch.Generator().manual_seed(2)
    w = torch.randn(2, 60, 60, dtype=torch.float64, generator=generator)
    w[0] = torch.outer(w[0, 0], w[0, 1])
    exact = torch.linalg.matrix_norm(w, ord=2)
    torch.testing.assert_close(operator_norm(w), exact, rtol=1e-9, atol=0)


def exponential(rate, floor, count=400, bend=0.0):
    t = torch.arange(count, dtype=torch.float64)
    loss = torch.exp(-rate * t) + bend * torch.exp(-20 * rate * t)
    noise = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (
        t,
        torch.log(loss + floor * (1 + 0.1 * noise)),
        torch.full((count,), math.log(floor * 100)),
    )


@pytest.mark.parametrize("rate", [1e-3, 0.02, 0.2])
def test_a_known_rate_is_found_above_the_floor(rate):
    t, y, floor = exponential(rate, 1e-18, count=int(max(400, 4 / rate)), bend=5.0)
    fit = fit_rate(t, y, floor)
    assert fit.rate == pytest.approx(rate, rel=0.01)
    assert fit.r2 is not None
    assert fit.r2 > 0.99
    assert y[fit.stop] > floor[0]
    assert abs(fit.start - fit.stop / 2) <= 1


def test_no_rate_says_why():
    t = torch.arange(100, dtype=torch.float64)
    low = torch.full((100,), -700.0).double()
    assert "not fall" in fit_rate(t, 0.1 * t, low).reason
    assert "straight" in fit_rate(t, torch.sin(t) - 1e-4 * t, low).reason
    assert "floor" in fit_rate(t, -t, low + 1000).reason
    assert "fewer" in fit_rate(t, -t, torch.full((100,), -8.0).double()).reason


def initial(n=6, m=40):
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(m, n, dtype=torch.float64, generator=generator)
    r = torch.randn(n, n, dtype=torch.float64, generator=generator)
    e = torch.randn(n, dtype=torch.float64, generator=generator)
    return Initial(z.T @ z, r @ r.T, e, 0.7, 2.5, 1.0, 14.0)


def test_linearised_curve_is_the_linear_recursion():
    start, eta = initial(), 0.03
    e, losses = start.error, []
    for _ in range(50):
        losses.append(0.5 * float(e @ e))
        e = e - eta * start.tangent @ e
    curve = linearized_log_loss(start, eta, torch.arange(50, dtype=torch.float64))
    torch.testing.assert_close(curve, tensor(losses).log(), atol=1e-9, rtol=0)


def test_bound_rate():
    assert bound_rate(0.1, 4.0) == pytest.approx(-math.log(0.8), rel=1e-14)
    assert bound_rate(1.0, 3.0) is None


def test_initial_condition_is_the_theorems_at_its_delta():
    start, model = initial(), ModelConfig(width=40)
    found = initial_condition(start, model)
    assert found is not None
    rho_w, rho_u, rho_a = (v + found.delta for v in (0.7, 2.5, 1.0))
    c_a = rho_u * 14 / (1 - rho_w)
    c_w, c_u = c_a * rho_a / (1 - rho_w), 14 * rho_a / (1 - rho_w)
    error, lam = float(start.error.norm()), start.lambda_0
    assert found.slack_7 == pytest.approx(lam * found.delta / 4 / max(c_w, c_u, c_a) / error)
    right = 4 * (2 + 2**0.5) / rho_a * (c_w**2 + c_u**2) * error
    assert found.slack_8 == pytest.approx(lam**1.5 / right)
    assert found.slack_9 == pytest.approx(lam / (4 * (c_w**2 + c_u**2)))
    square = c_w**2 + c_u**2
    assert found.eta_limit == pytest.approx(min(2 / lam, 2 * square / (square + c_a**2) ** 2))


def test_no_condition_without_room_for_delta():
    start = initial()
    wide = Initial(start.gram, start.tangent, start.error, 1.0, 2.5, 1.0, 14.0)
    assert initial_condition(wide, ModelConfig(width=40)) is None


def test_gram_error_falls_with_width():
    from deq.comparison import train
    from deq.trial import TrainConfig, TrialConfig

    data = load(SphereConfig(n=8, d=8))

    def error(width):
        config = TrialConfig(model=ModelConfig(width=width), train=TrainConfig(steps=1))
        return train(config, data).summary["theory/gram_error"]

    assert error(1600) < 0.5 * error(100)
