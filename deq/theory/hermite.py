"""Gaussian averages, Hermite coefficients and the dual activation they give.

Source: docs/theory.md, section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# sqrt(density) is 3e-19 at |g| = 13, so the cut-off is below rounding. The trapezoidal
# rule converges like exp(-2 pi s / h) for phi analytic within |Im g| < s.
_EDGE = 13.0
_SPACING = 0.01
_MAX_TERMS = 2000
_EPS = torch.finfo(torch.float64).eps

Function = Callable[[Tensor], Tensor]


def _grid() -> tuple[Tensor, Tensor]:
    points = int(2 * _EDGE / _SPACING) + 1
    g = torch.linspace(-_EDGE, _EDGE, points, dtype=torch.float64)
    return g, torch.exp(-g * g / 2) / (2 * torch.pi) ** 0.5


def gaussian_mean(f: Function) -> float:
    """Return E[f(g)], g ~ N(0, 1), for analytic f of moderate growth (trapezoidal rule)."""
    g, density = _grid()
    return float((f(g) * density).sum() * _SPACING)


@dataclass(frozen=True)
class HermiteSeries:
    """phi(sqrt(q) g) = sum_r mu_r h_r(g), h_r the normalised probabilists' polynomials.

    Attributes:
        weights: (N,) float64, the mu_r^2 for r < N.
        energy: E[phi(sqrt(q) g)^2], the sum of all mu_r^2.
        rest: the energy of the terms r >= N, at least the rounding of the difference that
            it is computed as.
        quadrature: the sum of the changes of weights and energy at twice the spacing. It
            is far above the error at the spacing itself: about the square root of it for
            an analytic phi, a multiple of it for a less smooth one.
    """

    weights: Tensor
    energy: float
    rest: float
    quadrature: float

    def dual(self, rho: Tensor) -> Tensor:
        """Return E[phi(u) phi(v)] = sum_{r<N} mu_r^2 rho^r at correlations rho."""
        total = torch.zeros_like(rho)
        for weight in reversed(self.weights.tolist()):
            total.mul_(rho).add_(weight)
        return total

    def error(self, rho: float) -> float:
        """Bound the error of `dual` at |correlation| <= rho: rest rho^N + quadrature.

        The truncated terms are bounded by their sum at rho = 1 times the first truncated
        power. Rounding within `dual` is not included.
        """
        return self.rest * rho ** len(self.weights) + self.quadrature


def hermite_series(
    f: Function, q: float, rho: float, tol: float, *, max_terms: int = _MAX_TERMS
) -> HermiteSeries:
    """Return the series of f(sqrt(q) g), truncated with an error of at most tol if possible.

    It ends when rest rho^N <= tol, or at max_terms; `HermiteSeries.error` bounds the error
    reached. The criterion uses the remaining energy, not the last coefficient.
    For f with poles at distance s from the real line mu_r^2 falls like
    exp(-2 s sqrt(r / q)): at q = 2 and rho = 1 an error of 1e-14 takes tanh (s = pi/2)
    220 terms and arctan (s = 1) 350.

    Args:
        f: an analytic activation, or its derivative.
        q: variance of its argument.
        rho: greatest |correlation| at which it will be evaluated.
        tol: truncation error to reach.
        max_terms: most terms.

    Source: Daniely, Frostig and Singer 2016, section 4. The coefficients come from the
    trapezoidal rule on f times Hermite functions, whose recurrence is stable.
    """
    g, density = _grid()
    values = f(q**0.5 * g)
    root = density.sqrt()
    weighted = values * root * _SPACING
    energy, coarse_energy = _sums(values**2 * density * _SPACING)
    psi_before, psi = torch.zeros_like(g), root
    weights: list[float] = []
    rest, quadrature = energy, abs(energy - coarse_energy)
    while len(weights) < max_terms:
        mu, coarse_mu = _sums(weighted * psi)
        weights.append(mu * mu)
        quadrature += abs(mu * mu - coarse_mu * coarse_mu)
        rest -= mu * mu
        r = len(weights)
        floor = 4 * _EPS * energy
        if max(rest, floor) * rho**r <= tol or rest <= floor:
            break
        psi_before, psi = psi, (g * psi - (r - 1) ** 0.5 * psi_before) / r**0.5
    rest = max(rest, 4 * _EPS * energy)
    return HermiteSeries(torch.tensor(weights, dtype=torch.float64), energy, rest, quadrature)


def _sums(terms: Tensor) -> tuple[float, float]:
    """Return the trapezoidal rule's sum over the grid, and over every other point."""
    return float(terms.sum()), 2 * float(terms[::2].sum())
