"""Gaussian averages, Hermite coefficients and the dual activation they give."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# sqrt(density) is 3e-19 at |g| = 13: what is cut off is below rounding. The
# trapezoidal rule converges like exp(-2 pi s / h) for phi analytic within |Im g| < s.
_EDGE = 13.0
_SPACING = 0.01

Function = Callable[[Tensor], Tensor]


def _grid() -> tuple[Tensor, Tensor]:
    points = int(2 * _EDGE / _SPACING) + 1
    g = torch.linspace(-_EDGE, _EDGE, points, dtype=torch.float64)
    return g, torch.exp(-g * g / 2) / (2 * torch.pi) ** 0.5


def gaussian_mean(f: Function) -> float:
    """E[f(g)], g ~ N(0, 1), for analytic f of moderate growth (trapezoidal rule)."""
    g, density = _grid()
    return float((f(g) * density).sum() * _SPACING)


@dataclass(frozen=True)
class HermiteSeries:
    """phi(sqrt(q) g) = sum_r mu_r h_r(g), h_r the normalised probabilists' polynomials.

    Attributes:
        weights: (N,) float64, the mu_r^2 for r < N.
        energy: E[phi(sqrt(q) g)^2], the sum of all mu_r^2.
        rest: the energy left out, that of r >= N.
    """

    weights: Tensor
    energy: float
    rest: float

    def dual(self, rho: Tensor) -> Tensor:
        """E[phi(u) phi(v)] = sum_r mu_r^2 rho^r at correlations rho, truncated."""
        total = torch.zeros_like(rho)
        for weight in reversed(self.weights.tolist()):
            total.mul_(rho).add_(weight)
        return total

    def error(self, rho: float) -> float:
        """Bound on what `dual` leaves out at |correlation| <= rho: rest * rho^N."""
        return self.rest * rho ** len(self.weights)


def hermite_series(f: Function, q: float, rho: float, tol: float) -> HermiteSeries:
    """The series of f(sqrt(q) g), long enough that `error(rho)` <= tol if 600 terms do.

    Args:
        f: an analytic activation, or its derivative.
        q: variance of its argument.
        rho: the greatest |correlation| it will be evaluated at.
        tol: the error wished for.

    Source: Daniely, Frostig and Singer 2016, section 4. The coefficients come from the
    trapezoidal rule on f times Hermite functions, whose recurrence is stable.
    """
    g, density = _grid()
    values = f(q**0.5 * g)
    root = density.sqrt()
    weighted = values * root * _SPACING
    energy = float((values**2 * density).sum() * _SPACING)
    psi_before, psi = torch.zeros_like(g), root
    weights: list[float] = []
    rest = energy
    while len(weights) < 600:
        mu = float((weighted * psi).sum())
        weights.append(mu * mu)
        # Rounding of the difference is the least that is ever claimed.
        rest = max(energy - sum(weights), 1e-15 * energy)
        r = len(weights)
        if rest * rho**r <= tol:
            break
        psi_before, psi = psi, (g * psi - (r - 1) ** 0.5 * psi_before) / r**0.5
    return HermiteSeries(torch.tensor(weights, dtype=torch.float64), energy, rest)
