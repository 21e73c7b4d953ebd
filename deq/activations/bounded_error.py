"""Quadrature for an activation of which only L and M are known, with an error they prove.

Source: docs/theory.md, section 4.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy
import torch
from numpy.polynomial import legendre
from torch import Tensor

from deq.activations.activation import Activation
from deq.activations.gaussian import (
    LEGENDRE,
    NODES,
    Function,
    Rule,
    halved,
    mass_of,
    misses_of,
    placed,
    scaled,
    scales_of,
)

_SPACING = 1e-5  # between the points where a function is compared with its polynomials
_FEWEST = 32  # intervals of a panel between these points
_CHUNK = 2**19  # values computed at once
# Multiple of what `misses_of` allows: rounding is greatest at one of the many points, and
# what L and M leave open is far more.
_SLACK = 64.0
_ORDERS = numpy.arange(NODES)
# Greatest |P_k'| and |P_k''| on [-1, 1].
_SLOPES = torch.from_numpy(_ORDERS * (_ORDERS + 1) / 2)
_BENDS = torch.from_numpy((_ORDERS - 1) * _ORDERS * (_ORDERS + 1) * (_ORDERS + 2) / 8)


def bounded_rules(phi: Activation, q: float) -> tuple[Rule, Rule]:
    """Return rules for phi(sqrt(q) g) and for phi'(sqrt(q) g), on the same nodes.

    Their errors bound those of E[phi(u) phi(v)] and E[phi'(u) phi'(v)] at all covariances,
    for every phi with sup |phi'| <= L and sup |phi''| <= M that is phi at points of
    spacing 1e-5: whatever happens between them, L and M bound it.

    Args:
        phi: the activation; M is finite.
        q: variance of u and of v.
    """
    functions = [scaled(phi.function, q**0.5), scaled(phi.derivative, q**0.5)]
    left, width, _ = halved(functools.partial(_misses, functions, scales_of(functions)))
    nodes, weights = placed(left, width)
    rule = Rule(nodes.flatten(), weights.flatten(), 0.0, uniform=False)
    mass = mass_of(left + width / 2, width)
    bend, slope = phi.curvature * q, phi.curvature * q**0.5
    value, derivative = functions
    misses, spacing, curve, _ = _deviations(value, left, width)
    off = _norm(mass, misses + (bend + curve) * spacing**2 / 8)
    norm = rule.mean(lambda g: value(g) ** 2) ** 0.5
    misses, spacing, _, tilt = _deviations(derivative, left, width)
    off_dot = _norm(mass, misses + (slope + tilt) * spacing / 2)
    misses = _integral_deviations(functions, q**0.5, left, width)
    integral = _norm(mass, misses + (slope + tilt) * spacing**2 / 8)
    error_dot = 2 * integral * (phi.lipschitz + slope) + off_dot**2
    return replace(rule, error=off * (2 * norm + off)), replace(rule, error=error_dot)


def _norm(mass: Tensor, bounds: Tensor) -> float:
    """Return the norm over the Gaussian of a function with these bounds (P,) on the panels."""
    return math.sqrt(float((mass * bounds**2).sum()))


def _misses(
    functions: list[Function], scales: list[float], left: Tensor, width: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how far polynomials are from the functions, as `misses_of`, at all points."""
    few, tol = misses_of(functions, scales, left, width)
    all_points = torch.stack([_deviations(f, left, width)[0] for f in functions])
    return torch.maximum(few, all_points), _SLACK * tol


def _chunks(left: Tensor, width: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Yield indices of panels that are computed together, and the intervals of each."""
    counts = torch.ceil(width / _SPACING - 1e-6).clamp_min(_FEWEST).to(torch.int64)
    for count in sorted(set(counts.tolist())):
        for part in torch.split(torch.where(counts == count)[0], max(1, _CHUNK // count)):
            yield part, count


@functools.cache
def _matrices(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return points of [-1, 1], and the matrices from coefficients to p and its integral there."""
    t = numpy.linspace(-1, 1, count + 1)
    values = legendre.legvander(t, NODES)
    # The integral of P_k from -1 to t is (P_{k+1} - P_{k-1}) / (2 k + 1).
    before = numpy.concatenate([-numpy.ones_like(t)[:, None], values[:, : NODES - 1]], axis=1)
    integrals = (values[:, 1:] - before) / (2 * _ORDERS + 1)
    points = torch.from_numpy(t)
    return (
        points,
        torch.from_numpy(values[:, :NODES].T.copy()),
        torch.from_numpy(integrals.T.copy()),
    )


def _coefficients(f: Function, left: Tensor, width: Tensor) -> Tensor:
    """Return the Legendre coefficients of the polynomials through the panels' nodes; (P, 20)."""
    t, w = LEGENDRE
    analysis = (2 * _ORDERS + 1) / 2 * w[:, None] * legendre.legvander(t, NODES - 1)
    return f(placed(left, width)[0]) @ torch.from_numpy(analysis)


def _deviations(f: Function, left: Tensor, width: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of each panel: greatest |f - p| at its points, their spacing, sup |p''|, sup |p'|."""
    off, spacing = torch.zeros_like(left), torch.zeros_like(left)
    coefficients = _coefficients(f, left, width)
    for part, count in _chunks(left, width):
        points, synthesis, _ = _matrices(count)
        g = left[part, None] + width[part, None] / 2 * (1 + points)
        off[part] = (f(g) - coefficients[part] @ synthesis).abs().amax(1)
        spacing[part] = width[part] / count
    sizes, half = coefficients.abs(), width / 2
    return off, spacing, sizes @ _BENDS / half**2, sizes @ _SLOPES / half


def _integral_deviations(
    functions: list[Function], root: float, left: Tensor, width: Tensor
) -> Tensor:
    """Return the greatest |D| at the points of each panel, D' = phi' - p, D(0) = 0; (P,).

    Args:
        functions: phi(root g) and phi'(root g), of g.
        root: sqrt(q).
        left: left ends of the panels.
        width: their widths.
    """
    value, derivative = functions
    coefficients = _coefficients(derivative, left, width)
    steps = width * coefficients[:, 0]
    before = steps.cumsum(0) - steps
    low, high = torch.zeros_like(left), torch.zeros_like(left)
    for part, count in _chunks(left, width):
        points, _, integrals = _matrices(count)
        half = width[part, None] / 2
        integral = before[part, None] + half * (coefficients[part] @ integrals)
        d = value(left[part, None] + half * (1 + points)) / root - integral
        low[part], high[part] = d.amin(1), d.amax(1)
    middle = int((left <= 0).sum()) - 1
    at_zero = low[middle]
    return torch.maximum((low - at_zero).abs(), (high - at_zero).abs())
