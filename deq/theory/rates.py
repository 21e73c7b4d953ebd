"""Rates in closed form, and the curves of the linearised dynamics.

Everywhere rate = -(d/dt) log Phi, in nats per GD step. Source: docs/theory.md, section 6.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.theory.convergence import Initial
from deq.theory.population import Population

# Steps whose modes are summed at once, so that memory does not grow with the budget.
_CHUNK = 4096


def bound_rate(eta: float, lambda_0: float) -> float | None:
    """-log(1 - eta lambda_0 / 2), the theorem's rate; None when the bound is void."""
    x = eta * lambda_0 / 2
    return -math.log1p(-x) if 0 < x < 1 else None


def asymptotic_rate(eta: float, h: float) -> float | None:
    """-2 log|1 - eta h| of one mode of eigenvalue h; None when it does not decay."""
    factor = abs(1 - eta * h)
    if h <= 0 or not 0 < factor < 1:
        return None
    return -2 * math.log(factor)


def effective_eigenvalue(eta: float, rate: float) -> float:
    """(1 - exp(-rate / 2)) / eta: the eigenvalue of H whose mode would decay at this rate."""
    return -math.expm1(-rate / 2) / eta


@dataclass(frozen=True)
class LinearDynamics:
    """Gradient descent on a linearised model: every mode of H decays by itself.

    Attributes:
        eigenvalues: (n,) float64, h_k of H, rising.
        squares: (n,) float64, c_k^2, the squared error in each mode at t = 0.
        eta: the step size.
    """

    eigenvalues: Tensor
    squares: Tensor
    eta: float

    @classmethod
    def of_network(cls, initial: Initial, eta: float) -> "LinearDynamics":
        """Of one network: H(0) = sum_k h_k u_k u_k^T and c_k = u_k.e(0)."""
        h, u = torch.linalg.eigh(initial.tangent)
        return cls(h, (u.mT @ initial.error) ** 2, eta)

    @classmethod
    def of_population(
        cls, limit: Population, y: Tensor, width: int, sigma_a: float, eta: float
    ) -> "LinearDynamics":
        """Of the infinite-width limit: H_inf at this width, the error by its expectation.

        yhat(0) has mean zero and covariance sigma_a^2 K over the draw of a, so that
        E[c_k^2] = (u_k.y)^2 + sigma_a^2 u_k^T K u_k with the eigenvectors u_k of H_inf.
        The curve is that of the loss averaged over wide networks; a single one scatters
        about it with its own e(0), also at infinite width.
        """
        h, u = torch.linalg.eigh(limit.tangent(width))
        variance = sigma_a**2 * ((limit.gram @ u) * u).sum(0).clamp_min(0)
        return cls(h, (u.mT @ y.double()) ** 2 + variance, eta)

    def log_loss(self, steps: Tensor) -> Tensor:
        """log Phi_lin(t) = log 1/2 sum_k (1 - eta h_k)^{2t} c_k^2 at the given steps; (T,).

        Summed in logarithms, so that a curve below the least float is still a curve.
        """
        decay = 2 * torch.log((1 - self.eta * self.eigenvalues).abs())
        parts = []
        for part in torch.split(steps, _CHUNK):
            # At t = 0 a mode with 1 - eta h = 0 still counts: 0^0 = 1.
            exponents = torch.nan_to_num(part[:, None] * decay, nan=0.0) + self.squares.log()
            parts.append(torch.logsumexp(exponents, dim=1))
        return torch.cat(parts) - math.log(2)

    def steps_to(self, loss: float, most: int) -> int | None:
        """The first step with Phi_lin(t) <= loss Phi_lin(0); None when not within `most`.

        log Phi_lin is convex in t (a logsumexp of lines), also when eta h_k > 2 makes it
        rise in the end: it falls until its minimum, where both searches bisect.
        """
        if loss >= 1:
            return 0

        def value(t: int) -> float:
            return float(self.log_loss(torch.tensor([t], dtype=torch.float64)))

        target = value(0) + math.log(loss)
        least = _first(lambda t: value(t + 1) >= value(t), most)
        if not value(least) <= target:  # true for NaN as well
            return None
        return _first(lambda t: value(t) <= target, least)


def _first(holds: Callable[[int], bool], most: int) -> int:
    """The first t in 0 .. most where a predicate that turns true once is true; else `most`."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
