"""The one loop and the one stopping rule of every fixed-point solver.

A pack of B trials is solved together, each for the fixed points x_i = f_i(x_i) of its
n samples. A sample stops by its own residual: its answer depends neither on the other
samples nor on the pack. Samples that have stopped are dropped from the products.
Shapes: (B, n, m), one row of length m for each sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import torch
from torch import Tensor

# A residual that has not fallen for this many maps has stopped falling.
PATIENCE = 30
# Below this many units of rounding, a residual that no longer falls is rounding.
ROUNDING = 1e3
# Rows are moved together when so many of them, at most, are still at work ...
COMPACT = 0.75
# ... and a full map costs at least so many multiplications; less is not worth the move.
WORTH = 2**23


class Map(Protocol):
    """A pack of maps, one for each sample."""

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """f(x), written to `out`."""

    def at(self, rows: Tensor) -> "Map":
        """The map of these samples only; rows (B, k)."""

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> f'(x) v, a product as large as the map's own."""


class Step(Protocol):
    """What a solver contributes: the next iterate. One is made for every solve."""

    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """The next x from image = f(x) and change = f(x) - x; it may overwrite both."""

    def keep(self, places: Tensor) -> None:
        """Only these rows go on; places (B, k) among the present ones."""

    @property
    def products(self) -> int:
        """Products spent on the last step beyond the map itself."""


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
    "raise solver.tol or use dtype=float64",
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
        residual: per trial, the relative residual at the last map, that is of the iterate
            before `value`, worst sample; `value` itself is better by the contraction.
        predicted: per trial, the same at the first map: how good the start was.
        products: per trial, products with the trial's matrix, each counted by the share
            of the samples that needed it; what the trial cost, whatever its pack.
        work: the same as carried out, samples included that had already stopped, mean
            over the pack.
    """

    value: Tensor
    solved: list[Solved]
    residual: list[float]
    predicted: list[float]
    products: list[float]
    work: float


def take(x: Tensor, rows: Tensor, out: Tensor | None = None) -> Tensor:
    """x[b, rows[b]]; (B, n, m) and (B, k) to (B, k, m)."""
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
        tol: (B,) float64, each trial's relative tolerance for every one of its samples.
        max_steps: the most maps applied to a sample.
        step: the solver's step. What is returned is always a plain image f(x).
    """
    watch = _Watch(start, tol)
    x, (image, value) = start, buffers
    for k in range(1, max_steps + 1):
        f(x, image)
        change = torch.sub(image, x, out=x)
        trial, place, sample = watch.look(change, image, last=k == max_steps)
        if not watch.left and k == 1:
            return watch.solution(image)  # as it is: nothing has to be put together
        value[trial, sample] = image[trial, place]
        if not watch.left:
            break
        x, free = step(f, image, change), change
        watch.spend(step.products)
        kept = watch.compact()
        if kept is not None:
            f = f.at(kept)
            step.keep(kept)
            x, free = take(x, kept, out=_front(free, kept)), _front(x, kept)
        image = free
    return watch.solution(value)


def _front(buffer: Tensor, rows: Tensor) -> Tensor:
    """The first part of a buffer, as a tensor of these rows."""
    shape = (*rows.shape, buffer.shape[-1])
    return buffer.view(-1)[: math.prod(shape)].view(shape)


class _Watch:
    """Which samples are still at work, and how the others ended.

    `rows`, `live`, `best` and `since` are of the rows at work, (B, k); `residual`,
    `solved` and `spent` of all samples, (B, n).
    """

    def __init__(self, start: Tensor, tol: Tensor) -> None:
        batch, self.n, m = start.shape
        on = start.device
        self.tol, self.floor = tol[:, None], ROUNDING * torch.finfo(start.dtype).eps
        self.map_cost, self.maps, self.products, self.work = batch * m * m, 0, 0, 0.0
        self.rows = torch.arange(self.n, device=on).expand(batch, self.n)
        self.live = torch.ones(batch, self.n, dtype=torch.bool, device=on)
        self.left = self.n
        self.best = torch.full((batch, self.n), torch.inf, dtype=torch.float64, device=on)
        self.since = torch.zeros(batch, self.n, dtype=torch.int64, device=on)
        self.predicted = self.best
        self.residual = torch.zeros_like(self.best)
        self.solved, self.spent = torch.zeros_like(self.since), torch.zeros_like(self.since)

    def look(self, change: Tensor, image: Tensor, *, last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Take in a map; the samples it ended: their trial, place among the rows, number."""
        self.maps += 1
        self.spend(1)
        now = relative_residual(change, image)
        if self.maps == 1:
            self.predicted = now.amax(-1)
        fell = now < self.best
        self.best = torch.where(fell, now, self.best)
        self.since = self.since.masked_fill(fell, self.maps)
        met, finite = now <= self.tol, now < torch.inf  # both false for NaN
        stuck = (self.maps - self.since >= PATIENCE) & (self.best <= self.floor)
        # A trial with a lost sample is lost: its other samples end with it.
        lost = (self.live & ~met & (stuck | ~finite)).any(-1, keepdim=True)
        ended = self.live & (met | lost | last)
        code = torch.full_like(self.since, int(Solved.MAX_STEPS))
        code.masked_fill_(stuck, int(Solved.STAGNATED))
        code.masked_fill_(~finite, int(Solved.NONFINITE)).masked_fill_(met, int(Solved.CONVERGED))
        self.live = self.live & ~ended
        self.left = int(self.live.sum(-1).amax())
        trial, place = ended.nonzero(as_tuple=True)
        sample = self.rows[trial, place]
        self.residual[trial, sample] = now[trial, place]
        self.solved[trial, sample] = code[trial, place]
        self.spent[trial, sample] = self.products
        return trial, place, sample

    def spend(self, products: int) -> None:
        """Count products with the rows at work."""
        self.products += products
        self.work += products * self.live.shape[1] / self.n

    def compact(self) -> Tensor | None:
        """The rows to go on with, (B, k), when dropping the others saves more than it costs."""
        present = self.live.shape[1]
        if self.left > COMPACT * present or present * self.map_cost < WORTH:
            return None
        kept = self.live.argsort(dim=-1, descending=True, stable=True)[:, : self.left]
        for name in ("rows", "live", "best", "since"):
            setattr(self, name, getattr(self, name).gather(1, kept))
        return kept

    def solution(self, value: Tensor) -> Solution:
        """What is known at the end."""
        return Solution(
            value=value,
            solved=[Solved(code) for code in self.solved.amax(-1).tolist()],
            residual=self.residual.nan_to_num(nan=torch.inf).amax(-1).tolist(),
            predicted=self.predicted.tolist(),
            products=self.spent.double().mean(-1).tolist(),
            work=self.work,
        )


def relative_residual(change: Tensor, image: Tensor) -> Tensor:
    """||f(x) - x||_2 / ||f(x)||_2 of every sample; (B, k, m) twice to (B, k) float64."""
    size = torch.linalg.vector_norm(image, dim=-1).clamp_min(torch.finfo(image.dtype).tiny)
    residual: Tensor = torch.linalg.vector_norm(change, dim=-1) / size
    return residual.double()
