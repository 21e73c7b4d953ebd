"""Gaussian averages, Hermite coefficients and the dual activation they give.

Source: docs/theory.md, section 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.gaussian import Function, Rule, hermite_functions, rule_for

_MAX_TERMS = 2000
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class HermiteSeries:
    """phi(sqrt(q) g) = sum_r mu_r h_r(g), h_r the normalised probabilists' polynomials.

    Attributes:
        weights: (N,) float64, the mu_r^2 for r < N.
        energy: E[phi(sqrt(q) g)^2], the sum of all mu_r^2.
        rest: the energy of the terms r >= N, at least the rounding of the difference that
            it is computed as.
        quadrature: bound on the error of `dual` from the weights. For the trapezoidal rule
            the sum of the changes of weights and energy at twice the spacing, which is far
            above the error at the spacing itself, about its square root; for panels their
            own bound, and rounding.
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
    f: Function,
    q: float,
    rho: float,
    tol: float,
    *,
    max_terms: int = _MAX_TERMS,
    rule: Rule | None = None,
) -> HermiteSeries:
    """Return the series of f(sqrt(q) g), truncated with an error of at most tol if possible.

    It ends when rest rho^N <= tol, or at max_terms; `HermiteSeries.error` bounds the error
    reached. The criterion uses the remaining energy, not the last coefficient.
    For f with poles at distance s from the real line mu_r^2 falls like
    exp(-2 s sqrt(r / q)): at q = 2 and rho = 1 an error of 1e-14 takes tanh (s = pi/2)
    220 terms and arctan (s = 1) 350.

    Args:
        f: an activation, or its derivative.
        q: variance of its argument.
        rho: greatest |correlation| at which it will be evaluated.
        tol: truncation error to reach.
        max_terms: most terms.
        rule: quadrature of f(sqrt(q) g), whose error is that of `dual`; None: `rule_for`.

    Source: Daniely, Frostig and Singer 2016, section 4. The coefficients come from a
    quadrature of f times Hermite functions, whose recurrence is stable.
    """
    rule = rule or rule_for([f], q)
    density = rule.density
    values = f(q**0.5 * rule.nodes)
    weighted = values * density.sqrt() * rule.weights
    energy, coarse_energy = _sums(rule, values**2 * density * rule.weights)
    weights: list[float] = []
    rest, quadrature = energy, rule.error + abs(energy - coarse_energy)
    for psi in hermite_functions(rule):
        mu, coarse_mu = _sums(rule, weighted * psi)
        weights.append(mu * mu)
        quadrature += abs(mu * mu - coarse_mu * coarse_mu)
        rest -= mu * mu
        r = len(weights)
        floor = 4 * _EPS * energy
        if max(rest, floor) * rho**r <= tol or rest <= floor or r >= max_terms:
            break
    rest = max(rest, 4 * _EPS * energy)
    return HermiteSeries(torch.tensor(weights, dtype=torch.float64), energy, rest, quadrature)


def gaussian_energy(f: Function, q: float) -> float:
    """Return E[f(sqrt(q) g)^2], g ~ N(0, 1)."""
    return rule_for([f], q).mean(lambda g: f(q**0.5 * g) ** 2)


def _sums(rule: Rule, terms: Tensor) -> tuple[float, float]:
    """Return the sum over the nodes, and a second one whose distance bounds its error.

    The second is that over every other point of a uniform grid. Panels' error is bounded by
    `Rule.error`, so that rounding is left: the second sum is off by it.
    """
    total = float(terms.sum())
    if rule.uniform:
        return total, 2 * float(terms[::2].sum())
    return total, total + 4 * _EPS * float(terms.abs().sum())
