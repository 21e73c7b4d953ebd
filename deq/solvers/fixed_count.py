"""Picard's iteration for a fixed number of maps, without waiting for the GPU in between."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.solvers.fixed_point import Map
from deq.solvers.progress import relative_residual
from deq.solvers.solution import Solution, Solved

# Rows of FixedCountSolve.figures.
FIGURES = 5


@dataclass(frozen=True)
class FixedCountSolve:
    """The result of a fixed number of maps, still on the device.

    Attributes:
        value: (B, n, m) each sample's image under the map that met its tolerance, or under
            the last one.
        figures: (FIGURES, B) float64, per trial: the number of samples that did not meet
            it, then `maps`, `residual`, `predicted` and `products` as in a Solution.
    """

    value: Tensor
    figures: Tensor


def solve_fixed_count(
    f: Map, start: Tensor, buffers: tuple[Tensor, Tensor], *, tol: Tensor, maps: int
) -> FixedCountSolve:
    """Iterate x <- f(x) this many times for every sample; nothing is read from the device.

    A sample keeps the image that met its tolerance, as in `solve`, however many maps follow.
    If all samples met theirs, the result is that of `solve` up to rounding of the products.

    Args:
        f: the maps.
        start: (B, n, m) the first iterates; overwritten.
        buffers: two more tensors of that shape, overwritten; `value` lies in the second.
        tol: (B,) float64, each trial's relative tolerance.
        maps: number of maps, at least 1.
    """
    x, (image, value) = start, buffers
    live = torch.ones(start.shape[:2], dtype=torch.bool, device=start.device)
    residual = predicted = products = tol.new_zeros(start.shape[:2])
    for k in range(1, maps + 1):
        f(x, image)
        change = torch.sub(image, x, out=x)
        now = relative_residual(change, image, f.error)
        predicted = now if k == 1 else predicted
        residual = torch.where(live, now, residual)
        products = products + live
        torch.where(live[..., None], image, value, out=value)
        live = live & ~(now <= tol[:, None])
        x, image = image, change
    worst = [part.amax(-1) for part in (products, residual, predicted)]
    figures = [live.sum(-1), *worst, products.mean(-1)]
    return FixedCountSolve(value, torch.stack([v.double() for v in figures]))


def to_solution(value: Tensor, figures: list[list[float]], *, mixed: bool) -> Solution:
    """Return a fixed-count solve as a Solution; every sample must have met its tolerance.

    Args:
        value: of the solve.
        figures: of the solve, read from the device.
        mixed: whether all products of a sample but one were in low precision.
    """
    _, maps, residual, predicted, products = figures
    return Solution(
        value=value,
        solved=[Solved.CONVERGED] * len(value),
        residual=residual,
        predicted=predicted,
        products=products,
        work=max(maps),
        maps=int(max(maps)),
        low=[count - 1 if mixed else math.nan for count in products],
    )
