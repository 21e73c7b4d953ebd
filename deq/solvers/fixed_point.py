"""The one loop of every fixed-point solver.

A pack of B trials is solved together, each for the fixed points x_i = f_i(x_i) of its
n samples. A sample stops by its own residual: its answer depends neither on the other
samples nor on the pack. Samples that have stopped are dropped from the products.
Shapes: (B, n, m), one row of length m for each sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deq.solvers.progress import Array, Progress, relative_residual
from deq.solvers.solution import Solution, solved_at_once


class Map(Protocol):
    """A pack of maps, one for each sample.

    Attributes:
        error: (B, k) float64, bound on the relative error of the last image, which is added
            to its residual. None for a map in full precision.
    """

    error: Tensor | None = None

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """Write f(x) to `out` and return it; x and `out` are (B, k, m)."""

    def at(self, rows: Tensor) -> "Map":
        """Return the map of these samples only; rows (B, k)."""

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> f'(x) v, which costs as much as the map."""

    def refresh(self, live: Tensor, residual: Tensor) -> None:
        """React to a read of the residuals; called only for a map with an `error`.

        Args:
            live: (B, k), the samples that continue.
            residual: (B, k) float64, `error` included.
        """
        del live, residual


class Step(ABC):
    """A solver's rule for the next iterate. Every solve creates one.

    Attributes:
        HISTORY: attributes that hold lists of tensors (B, k, m) from earlier iterates.
        products: products with the live rows that the last step took, beside the map.
    """

    HISTORY: tuple[str, ...] = ()
    products = 0

    @abstractmethod
    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """Return the next x from image = f(x) and change = f(x) - x; may overwrite both."""

    def keep(self, places: Tensor) -> None:
        """Keep these rows of the history only; places (B, k) among the present ones."""
        for name in self.HISTORY:
            setattr(self, name, [take(x, places) for x in getattr(self, name)])


def take(x: Tensor, rows: Tensor, out: Tensor | None = None) -> Tensor:
    """Return x[b, rows[b]] for every b; (B, n, m) and (B, k) to (B, k, m)."""
    batch, n = x.shape[:2]
    if batch == 1:
        return torch.index_select(x, 1, rows[0], out=out)
    flat = (rows + n * torch.arange(batch, device=x.device)[:, None]).flatten()
    flat_out = None if out is None else out.view(-1, out.shape[-1])
    picked = torch.index_select(x.flatten(0, 1), 0, flat, out=flat_out)
    return picked.view(batch, -1, *x.shape[2:])


def solve(
    f: Map,
    start: Tensor,
    buffers: tuple[Tensor, Tensor],
    *,
    tol: Tensor,
    max_steps: int,
    step: Step,
) -> Solution:
    """Iterate each sample until ||f(x) - x||_2 <= tol ||f(x)||_2.

    Args:
        f: the maps.
        start: (B, n, m) the first iterates; overwritten.
        buffers: two more tensors of that shape, overwritten. The solution's value lies
            in one of them.
        tol: (B,) float64, each trial's relative tolerance for all of its samples.
        max_steps: most maps per sample.
        step: the solver's step.

    Returns:
        The images f(x) of the last iterates, and how each trial ended.
    """
    x, (image, value) = start, buffers
    f(x, image)
    change = torch.sub(image, x, out=x)
    now, wanted = _on_host(relative_residual(change, image, f.error)), _on_host(tol)
    worst = now.max(-1)
    if (worst <= wanted).all():
        return solved_at_once(image, worst.tolist())  # the usual case with good predictions
    value.copy_(image)
    progress = Progress(start, wanted, predicted=worst)
    for k in range(1, max_steps + 1):
        if k > 1:
            f(x, image)
            change = torch.sub(image, x, out=x)
            now = _on_host(relative_residual(change, image, f.error))
        places, samples = progress.update(now, last=k == max_steps)
        if k > 1 and len(places):
            _copy_rows(image, places, value, samples)
        if not len(progress.samples):
            break
        x, free = step(f, image, change), change
        progress.count(step.products)
        kept = progress.compact()
        if kept is not None:
            rows = torch.from_numpy(kept).to(x.device)
            f = f.at(rows)
            step.keep(rows)
            x, free = take(x, rows, out=_front(free, rows)), _front(x, rows)
        if f.error is not None:
            now = now if kept is None else np.take_along_axis(now, kept, axis=-1)
            f.refresh(*(torch.from_numpy(v).to(x.device) for v in (progress.live(), now)))
        image = free
    return progress.solution(value)


def _on_host(x: Tensor) -> Array:
    """Read a tensor; on a CPU the array shares its storage."""
    array: Array = x.cpu().numpy()
    return array


def _copy_rows(source: Tensor, places: Array, target: Tensor, samples: Array) -> None:
    """Copy rows of `source` to rows of `target`, both counted through the trials."""
    rows = source.view(-1, source.shape[-1])
    if len(places) < len(rows):
        rows = rows.index_select(0, torch.from_numpy(places).to(source.device))
    here = torch.from_numpy(samples).to(source.device)
    target.view(-1, target.shape[-1]).index_copy_(0, here, rows)


def _front(buffer: Tensor, rows: Tensor) -> Tensor:
    """Return the first part of a buffer, in the shape of these rows."""
    (batch, count), m = rows.shape, buffer.shape[-1]
    return buffer.as_strided((batch, count, m), (count * m, m, 1))
