"""Quadrature for averages over a standard Gaussian, and Hermite functions at its nodes.

Source: docs/theory.md, section 4.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

# sqrt(density) is 3e-19 at |g| = 13, so the cut-off is below rounding. The trapezoidal
# rule converges like exp(-2 pi s / h) for phi analytic within |Im g| < s.
EDGE = 13.0
SPACING = 0.01
# Shifts of the trapezoidal grid, as shares of its spacing. A frequency that aliases on the
# grid has another phase on a shifted one.
_SHIFTS = (0.381966011250105, 0.292893218813452)
_AGREE = 32  # units of rounding to which shifted grids must agree
# Panels of Gauss-Legendre nodes: nodes each, width of the first ones, halvings and number at
# most, and units of rounding to which a panel's polynomial must be the function.
NODES, _WIDTH, _HALVINGS, _PANELS, _RESOLVED = 20, 0.125, 44, 8192, 16
_EPS = torch.finfo(torch.float64).eps
LEGENDRE = numpy.polynomial.legendre.leggauss(NODES)
# Points of a panel [-1, 1] at which its polynomial is compared with the function.
_OTHER = numpy.array([-0.97, -0.71, -0.43, -0.11, 0.19, 0.53, 0.83, 0.98])

Function = Callable[[Tensor], Tensor]
Misses = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Rule:
    """Nodes g and weights of integrals over [-13, 13].

    Attributes:
        nodes: (N,) float64, g.
        weights: (N,) float64, without the Gaussian density.
        error: bound on the error of E[f(u) f(v)], with f as the rule sees it in place of f;
            0 for the trapezoidal rule.
        uniform: True for the trapezoidal rule.
    """

    nodes: Tensor
    weights: Tensor
    error: float
    uniform: bool

    @property
    def density(self) -> Tensor:
        """Standard Gaussian density at the nodes."""
        density: Tensor = torch.exp(-self.nodes * self.nodes / 2) / (2 * torch.pi) ** 0.5
        return density

    def mean(self, f: Function) -> float:
        """Return E[f(g)], g ~ N(0, 1)."""
        if self.uniform:
            return float((f(self.nodes) * self.density).sum() * SPACING)
        return float((f(self.nodes) * self.density * self.weights).sum())


def rule_for(functions: Sequence[Function], q: float) -> Rule:
    """Return a rule that resolves f(sqrt(q) g) for each of these functions.

    The trapezoidal rule serves where it gives the same averages on shifted grids, to
    rounding. Else the nodes are those of Gauss-Legendre panels, which are halved around
    kinks and where f is fast.

    Args:
        functions: activations or their derivatives.
        q: variance of their argument.
    """
    in_g = [scaled(f, q**0.5) for f in functions]
    if all(_agrees(f) for f in in_g):
        return trapezoidal()
    return _panels(in_g)


def scaled(f: Function, scale: float) -> Function:
    """Return g to f(scale g)."""
    return lambda g: f(scale * g)


def hermite_functions(rule: Rule) -> Iterator[Tensor]:
    """Yield h_r(g) sqrt(density) at the nodes for r = 0, 1, ..., by a stable recurrence."""
    before, psi = torch.zeros_like(rule.nodes), rule.density.sqrt()
    r = 0
    while True:
        yield psi
        r += 1
        before, psi = psi, (rule.nodes * psi - (r - 1) ** 0.5 * before) / r**0.5


def trapezoidal(shift: float = 0.0) -> Rule:
    """Return the trapezoidal rule of spacing 0.01, shifted by a share of the spacing."""
    points = int(2 * EDGE / SPACING) + 1
    g = torch.linspace(-EDGE, EDGE, points, dtype=torch.float64)
    g = g + shift * SPACING if shift else g
    return Rule(g, torch.full_like(g, SPACING), 0.0, uniform=True)


def _agrees(f: Function) -> bool:
    """True if E[f^2], E[f] and E[f g] are the same on shifted grids, up to rounding.

    A jump of f can be absent from f^2, an odd f is absent from E[f].
    """
    averages = [_averages(f, trapezoidal(shift)) for shift in (0.0, *_SHIFTS)]
    sums, magnitudes = averages[0]
    tol = _AGREE * _EPS * magnitudes
    return all(bool(((other - sums).abs() <= tol).all()) for other, _ in averages[1:])


def _averages(f: Function, rule: Rule) -> tuple[Tensor, Tensor]:
    """Return E[f^2], E[f], E[f g], and sums of the magnitudes of their terms."""
    values, weight = f(rule.nodes), rule.density * rule.weights
    terms = torch.stack([values**2, values, values * rule.nodes]) * weight
    return terms.sum(1), terms.abs().sum(1)


def _panels(functions: Sequence[Function]) -> Rule:
    """Return the rule of panels that are halved until each function is a polynomial on each.

    What is left at the last halving, next to a kink or where f is too fast, is in the error.
    """
    scales = scales_of(functions)
    left, width, misses = halved(lambda left, width: misses_of(functions, scales, left, width))
    nodes, weights = placed(left, width)
    rule = Rule(nodes.flatten(), weights.flatten(), 0.0, uniform=False)
    error = max(
        _error(f(rule.nodes), rule, left + width / 2, width, m)
        for f, m in zip(functions, misses, strict=True)
    )
    return Rule(rule.nodes, rule.weights, error, uniform=False)


def scales_of(functions: Sequence[Function]) -> list[float]:
    """Return sqrt(E[f(g)^2]) of each function, roughly."""
    return [float(_averages(f, trapezoidal())[0][0]) ** 0.5 for f in functions]


def halved(misses_in: Misses) -> tuple[Tensor, Tensor, Tensor]:
    """Halve panels of [-13, 13] where a function is farther from its polynomial than it may be.

    Args:
        misses_in: from left ends and widths (P,) how far each panel's polynomials are from the
            functions, and how far they may be; (F, P) each.

    Returns:
        Left ends and widths (P,), ascending, and how far off, (F, P): negated where that is
        farther than it may be.
    """
    edges = torch.linspace(-EDGE, EDGE, int(2 * EDGE / _WIDTH) + 1, dtype=torch.float64)
    left, width = edges[:-1], edges.diff()
    done: list[tuple[Tensor, Tensor, Tensor]] = []
    count = 0
    for halving in range(_HALVINGS + 1):
        miss, tol = misses_in(left, width)
        split = (miss > tol).any(0)
        if halving == _HALVINGS or count + len(left) + int(split.sum()) > _PANELS:
            split = torch.zeros_like(split)
        keep = ~split
        done.append((left[keep], width[keep], torch.where(miss <= tol, miss, -miss)[:, keep]))
        count += int(keep.sum())
        half = width[split] / 2
        left, width = torch.cat([left[split], left[split] + half]), torch.cat([half, half])
        if not len(left):
            break
    left, width = (torch.cat([part[k] for part in done]) for k in (0, 1))
    order = left.argsort()
    return left[order], width[order], torch.cat([part[2] for part in done], dim=1)[:, order]


def placed(left: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of the panels; (P, NODES) each."""
    t, w = (torch.from_numpy(part) for part in LEGENDRE)
    half = width[:, None] / 2
    return left[:, None] + half * (1 + t), half * w


@functools.cache
def _transforms() -> tuple[Tensor, Tensor]:
    """Return the matrices from values at the nodes to Legendre coefficients to other points."""
    t, w = LEGENDRE
    orders = numpy.arange(NODES)
    polynomials = numpy.polynomial.legendre.legvander(t, NODES - 1)
    analysis = (2 * orders + 1) / 2 * w[:, None] * polynomials
    synthesis = numpy.polynomial.legendre.legvander(_OTHER, NODES - 1).T
    return torch.from_numpy(analysis), torch.from_numpy(synthesis.copy())


def misses_of(
    functions: Sequence[Function], scales: Sequence[float], left: Tensor, width: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how far each panel's polynomial is from f, and how far it may be; (F, P) each.

    The polynomial through the nodes is compared with f at other points, and its last
    coefficients must have decayed. Far out, where the density is small, it may be farther.
    """
    analysis, synthesis = _transforms()
    nodes, _ = placed(left, width)
    points = left[:, None] + width[:, None] / 2 * (1 + torch.from_numpy(_OTHER))
    nearest = (left + width / 2).abs().sub(width / 2).clamp_min(0)
    allowance = torch.exp(nearest**2 / 4)
    misses, tols = [], []
    for f, scale in zip(functions, scales, strict=True):
        values = f(nodes)
        coefficients = values @ analysis
        miss = (coefficients @ synthesis - f(points)).abs().amax(1)
        misses.append(torch.maximum(miss, coefficients[:, -2:].abs().amax(1)))
        tols.append(_RESOLVED * _EPS * torch.maximum(values.abs().amax(1), scale * allowance))
    return torch.stack(misses), torch.stack(tols)


def _error(values: Tensor, rule: Rule, middle: Tensor, width: Tensor, misses: Tensor) -> float:
    """Bound the error of E[f(u) f(v)] with panel polynomials p in place of f.

    With d = f - p it is E[d(u) f(v)] + E[p(u) d(v)]: at most ||d|| (2 ||f|| + ||d||) where d
    is small, and 2 sup|f| E|d| on the few small panels where it is not (misses below 0).
    """
    mass = mass_of(middle, width)
    small, large = misses.clamp_min(0), (-misses).clamp_min(0)
    norm = math.sqrt(float((values**2 * rule.density * rule.weights).sum()))
    distance = math.sqrt(float((mass * small**2).sum()))
    rest = 2 * float(values.abs().amax()) * float((mass * large).sum())
    return distance * (2 * norm + distance) + rest


def mass_of(middle: Tensor, width: Tensor) -> Tensor:
    """Bound the Gaussian measure of each panel, from middles and widths; (P,)."""
    density = torch.exp(-middle * middle / 2) / math.sqrt(2 * math.pi)
    # Narrow: the density's greatest value in a panel is at most this multiple.
    return density * torch.exp(middle.abs() * width / 2) * width
