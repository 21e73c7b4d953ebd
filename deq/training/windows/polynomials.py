"""Steps of a window's nodes, and Lagrange's basis of the polynomials through them.

Time is tau = log(s + SHIFT) of a GD step s: training slows down as it goes on, and in tau
equilibria and adjoints change about equally fast from the first step to the last.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Steps added to s in tau = log(s + SHIFT), so that tau is finite at step 0.
SHIFT = 10.0


def tau(steps: Tensor) -> Tensor:
    """Return log(s + SHIFT) of GD steps; float64."""
    return torch.log(steps.double() + SHIFT)


def lagrange(nodes: Sequence[int], steps: Tensor) -> Tensor:
    """Return Lagrange's basis through L nodes at T steps; (T,) to (T, L) float64.

    A polynomial with the values x_k (L, ...) at the nodes is sum_k basis[:, k] x_k.
    """
    x, t = tau(torch.tensor(nodes)), tau(steps)
    columns = []
    for k in range(len(nodes)):
        others = torch.cat([x[:k], x[k + 1 :]])
        columns.append(((t[:, None] - others) / (x[k] - others)).prod(1))
    return torch.stack(columns, dim=1)


def node_steps(start: int, length: int, degree: int) -> list[int]:
    """Return the nodes' steps, rising: Chebyshev-Lobatto points of tau, rounded to steps.

    Args:
        start: the window's first step.
        length: the window's steps; the last node is at start + length.
        degree: degree of the polynomial; a window of fewer steps has fewer nodes.
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
    """Return the length of a window that follows another one.

    Args:
        length: steps of the window before.
        start: step at which that one ends and the next begins.
        factor: ratio of the next window's extent in tau to that of the window before.
    """
    now = start + SHIFT
    exponent = min(factor * math.log(now / (now - length)), 50.0)
    return now * math.expm1(exponent)
