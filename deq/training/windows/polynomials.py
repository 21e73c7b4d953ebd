"""Polynomials in time through the nodes of a window: where the nodes lie, and their basis.

Time is tau = log(s + SHIFT) of a GD step s: training slows down as it goes on, and in tau
equilibria and adjoints change about equally fast from the first step to the last.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Steps that count as one unit of time at the start.
SHIFT = 10.0


def tau(steps: Tensor) -> Tensor:
    """log(s + SHIFT) of GD steps; float64."""
    return torch.log(steps.double() + SHIFT)


def lagrange(nodes: Sequence[int], steps: Tensor) -> Tensor:
    """Lagrange's basis through the nodes, at some steps; (T,) to (T, L) float64.

    A polynomial with the values x_k (L, ...) at the nodes is sum_k basis[:, k] x_k.
    """
    x, t = tau(torch.tensor(nodes)), tau(steps)
    columns = []
    for k in range(len(nodes)):
        others = torch.cat([x[:k], x[k + 1 :]])
        columns.append(((t[:, None] - others) / (x[k] - others)).prod(1))
    return torch.stack(columns, dim=1)


def node_steps(start: int, length: int, degree: int) -> list[int]:
    """Steps of the nodes of a window: Chebyshev-Lobatto points of tau, rounded, rising.

    Args:
        start: the window's first step.
        length: its steps; the last node is at start + length.
        degree: of the polynomial; lower where the window has fewer steps.
    """
    degree, end = min(degree, length), start + length
    low, high = math.log(start + SHIFT), math.log(end + SHIFT)
    steps = [start]
    for k in range(1, degree + 1):
        at = (low + high) / 2 - (high - low) / 2 * math.cos(math.pi * k / degree)
        steps.append(max(round(math.exp(at) - SHIFT), steps[-1] + 1))
    steps[-1] = max(end, steps[-2] + 1)
    return steps if steps[-1] == end else list(range(start, end + 1))


def following(length: float, start: int, factor: float) -> float:
    """Length of a window whose extent in tau is `factor` times that of the one before.

    Args:
        length: of the window before, which ended at `start`.
        start: where the next one begins.
        factor: ratio of their extents in tau.
    """
    now = start + SHIFT
    exponent = min(factor * math.log(now / (now - length)), 50.0)
    return now * math.expm1(exponent)
