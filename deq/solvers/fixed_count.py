"""Picard's iteration that nobody looks at before it has ended: a GPU is never waited for."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.solvers.fixed_point import Map, Solution, Solved, relative_residual

# Rows of an attempt's figures.
FIGURES = 5


@dataclass(frozen=True)
class Attempt:
    """Picard's iteration as far as it came, all of it on the device yet.

    Attributes:
        value: (B, n, m) each sample's image under the map that met its tolerance, or under
            the last one.
        figures: (FIGURES, B) float64, per trial: samples that did not meet it, and what of a
            Solution is `maps`, `residual`, `predicted` and `products`.
    """

    value: Tensor
    figures: Tensor


def attempt(
    f: Map, start: Tensor, buffers: tuple[Tensor, Tensor], *, tol: Tensor, maps: int
) -> Attempt:
    """Apply this many maps to every sample; `solve`'s iteration by Picard, never waited for.

    A sample keeps the image that met its tolerance, as in `solve`, however many maps follow,
    so that where all met theirs the answer is that of `solve` up to the products' rounding.
    """
    x, (image, value) = start, buffers
    live = torch.ones(start.shape[:2], dtype=torch.bool, device=start.device)
    residual = predicted = spent = tol.new_zeros(start.shape[:2])
    for k in range(1, maps + 1):
        f(x, image)
        change = torch.sub(image, x, out=x)
        now = relative_residual(change, image, f.error)
        predicted = now if k == 1 else predicted
        residual = torch.where(live, now, residual)
        spent = spent + live
        torch.where(live[..., None], image, value, out=value)
        live = live & ~(now <= tol[:, None])
        x, image = image, change
    figures = [live.sum(-1), spent.amax(-1), residual.amax(-1), predicted.amax(-1), spent.mean(-1)]
    return Attempt(value, torch.stack([v.double() for v in figures]))


def attempted(value: Tensor, figures: list[list[float]], *, mixed: bool) -> Solution:
    """The solution that an attempt is, once its figures are here and no sample is left."""
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
