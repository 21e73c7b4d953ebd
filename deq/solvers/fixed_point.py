"""The one loop and the one stopping rule of every fixed-point solver.

A pack of B trials is solved together, each for the fixed points x_i = f_i(x_i) of its
n samples. A sample stops by its own residual: its answer depends neither on the other
samples nor on the pack. Samples that have stopped are dropped from the products.
Shapes: (B, n, m), one row of length m for each sample.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import torch
from torch import Tensor

# Maps within which a residual must fall by a tenth, or it counts as stagnated ...
PATIENCE = 30
# ... if it is below this many units of rounding.
ROUNDING = 1e3
# Finished rows are dropped when at most this share of the rows is still live ...
COMPACT = 0.9
# ... and a full map costs at least this many multiplications.
WORTH = 2**23


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
        """React to a read of the residuals.

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


class Solved(IntEnum):
    """How a fixed-point solve ended."""

    CONVERGED = 0
    STAGNATED = 1
    MAX_STEPS = 2
    NONFINITE = 3

    @property
    def advice(self) -> str:
        """What happened and what to do about it, in one sentence."""
        return _ADVICE[self]


_ADVICE = {
    Solved.CONVERGED: "the residual met the tolerance",
    Solved.STAGNATED: "the residual stopped at the precision's floor above the tolerance: "
    "raise solver.tol",
    Solved.MAX_STEPS: "the residual did not meet the tolerance within solver.max_steps: "
    "the equilibrium may not exist (L ||W||_2 >= 1); try solver.name=newton_krylov, or raise "
    "solver.max_steps",
    Solved.NONFINITE: "the iterates overflowed: no stable equilibrium was found",
}


@dataclass(frozen=True)
class Solution:
    """The fixed points of a pack.

    Attributes:
        value: (B, n, m) each sample's image f(x) under its last map.
        solved: per trial, how its worst sample ended.
        residual: per trial, the worst sample's relative residual at the last map, which is
            that of the iterate before `value`; `value` is better by the contraction.
        predicted: per trial, the same at the first map: the quality of the start.
        products: per trial, products with its matrix, each counted by the share of the
            samples that needed it; it does not depend on the pack.
        work: products carried out, samples included that had already stopped, mean over
            the pack.
        maps: number of maps until the last sample of the pack stopped.
        low: per trial, those of `products` in low precision; NaN if all are in full.
    """

    value: Tensor
    solved: list[Solved]
    residual: list[float]
    predicted: list[float]
    products: list[float]
    work: float
    maps: int
    low: list[float]


def take(x: Tensor, rows: Tensor, out: Tensor | None = None) -> Tensor:
    """Return x[b, rows[b]] for every b; (B, n, m) and (B, k) to (B, k, m)."""
    batch, n = x.shape[:2]
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
    progress = _Progress(start, tol)
    x, (image, value) = start, buffers
    for k in range(1, max_steps + 1):
        f(x, image)
        change = torch.sub(image, x, out=x)
        ended = progress.update(change, image, f.error, last=k == max_steps)
        if not progress.left and k == 1:
            return progress.solution(image)
        trial, place = ended.nonzero(as_tuple=True)
        if len(trial):
            value[trial, progress.rows[trial, place]] = image[trial, place]
        if not progress.left:
            break
        x, free = step(f, image, change), change
        progress.count(step.products)
        kept = progress.compact()
        if kept is not None:
            f = f.at(kept)
            step.keep(kept)
            x, free = take(x, kept, out=_front(free, kept)), _front(x, kept)
        f.refresh(progress.live, progress.residual)
        image = free
    return progress.solution(value)


def _front(buffer: Tensor, rows: Tensor) -> Tensor:
    """Return the first part of a buffer, in the shape of these rows."""
    shape = (*rows.shape, buffer.shape[-1])
    return buffer.view(-1)[: math.prod(shape)].view(shape)


class _Progress:
    """The progress of a solve: the samples that are live, and how the others ended.

    `rows`, `live`, `mark`, `residual` and `spent` are (B, k), of the rows not dropped yet.

    Attributes:
        rows: the sample of each row.
        live: whether the row is still iterated.
        mark: residuals at the last check for stagnation.
        spent: products of each row, set when it ends.
        left: the most live rows of a trial.
        dropped: residual and spent of all samples, (B, n), once rows were dropped.
    """

    def __init__(self, start: Tensor, tol: Tensor) -> None:
        batch, self.n, m = start.shape
        on = start.device
        self.tol, self.floor = tol[:, None], ROUNDING * torch.finfo(start.dtype).eps
        self.map_cost, self.maps, self.products, self.work = batch * m * m, 0, 0, 0.0
        self.left, self.solved = self.n, [Solved.CONVERGED] * batch
        self.rows = torch.arange(self.n, device=on).expand(batch, self.n)
        self.live = torch.ones(batch, self.n, dtype=torch.bool, device=on)
        self.residual = torch.full((batch, self.n), torch.inf, dtype=torch.float64, device=on)
        self.spent = torch.zeros_like(self.residual)
        self.mark = self.predicted = self.residual
        self.dropped: tuple[Tensor, Tensor] | None = None

    def update(self, change: Tensor, image: Tensor, error: Tensor | None, *, last: bool) -> Tensor:
        """Update the progress after a map; return which rows ended, (B, k)."""
        self.maps += 1
        self.count(1)
        now = relative_residual(change, image, error)
        if self.maps == 1:
            self.predicted = now
        met = now <= self.tol
        if self.maps == 1 and bool(met.all()):  # the usual case where predictions are good
            self.residual, self.spent, self.left = now, self.spent + 1, 0
            return met
        if last or self.maps % PATIENCE == 0 or not float(now.amax()) < torch.inf:  # NaN as well
            met = self._end_failed(met, now, last=last)
        ended = self.live & met
        self.residual = torch.where(self.live, now, self.residual)
        self.spent = self.spent.masked_fill(ended, self.products)
        self.live = self.live ^ ended
        self.left = int(self.live.sum(-1).amax())
        return ended

    def _end_failed(self, met: Tensor, now: Tensor, *, last: bool) -> Tensor:
        """End the trials with a sample that will not be solved, and set `solved`."""
        finite = now < torch.inf
        stuck = (now > 0.9 * self.mark) & (self.mark <= self.floor) & (self.maps % PATIENCE == 0)
        if self.maps % PATIENCE == 0:
            self.mark = now
        failed = (self.live & ~met & (~finite | stuck | last)).any(-1)
        for b in failed.nonzero().flatten().tolist():
            overflow = bool((self.live[b] & ~finite[b]).any())
            ending = Solved.MAX_STEPS if last else Solved.STAGNATED
            self.solved[b] = Solved.NONFINITE if overflow else ending
        return met | failed[:, None]

    def count(self, products: int) -> None:
        """Count products with the present rows."""
        self.products += products
        self.work += products * self.live.shape[1] / self.n

    def compact(self) -> Tensor | None:
        """Drop finished rows if that saves time; return the places of the others, (B, k)."""
        present = self.live.shape[1]
        if self.left > COMPACT * present or present * self.map_cost < WORTH:
            return None
        self.dropped = self._all()
        kept = self.live.argsort(dim=-1, descending=True, stable=True)[:, : self.left]
        for name in ("rows", "live", "mark", "residual", "spent"):
            setattr(self, name, getattr(self, name).gather(1, kept))
        return kept

    def _all(self) -> tuple[Tensor, Tensor]:
        """Return residual and products of every sample, (B, n)."""
        if self.dropped is None:
            return self.residual, self.spent
        residual, spent = self.dropped
        return (
            residual.scatter(1, self.rows, self.residual),
            spent.scatter(1, self.rows, self.spent),
        )

    def solution(self, value: Tensor) -> Solution:
        """Return the solution with these images."""
        residual, spent = self._all()
        return Solution(
            value=value,
            solved=self.solved,
            residual=residual.nan_to_num(nan=torch.inf).amax(-1).tolist(),
            predicted=self.predicted.amax(-1).tolist(),
            products=spent.mean(-1).tolist(),
            work=self.work,
            maps=self.maps,
            low=[math.nan] * len(spent),
        )


def relative_residual(change: Tensor, image: Tensor, error: Tensor | None = None) -> Tensor:
    """Return ||f(x) - x||_2 / ||f(x)||_2 of every sample, (B, k) float64.

    Args:
        change: (B, k, m) f(x) - x.
        image: (B, k, m) f(x).
        error: (B, k), relative error bound of the image, added to the residual.
    """
    size = torch.linalg.vector_norm(image, dim=-1).clamp_min(torch.finfo(image.dtype).tiny)
    residual: Tensor = torch.linalg.vector_norm(change, dim=-1) / size
    return residual.double() if error is None else residual + error
