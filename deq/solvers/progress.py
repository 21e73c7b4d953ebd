"""The stopping rule of every fixed-point solver, sample by sample."""

import math

import torch
from torch import Tensor

from deq.solvers.solution import Solution, Solved

# Maps within which a residual must fall by a tenth, or it counts as stagnated ...
PATIENCE = 30
# ... if it is below this many units of rounding.
ROUNDING = 1e3
# Finished rows are dropped when at most this share of the rows is still live ...
COMPACT = 0.9
# ... and a full map costs at least this many multiplications.
WORTH = 2**23


class Progress:
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

    def __init__(self, start: Tensor, tol: Tensor, predicted: list[float]) -> None:
        """Begin with no map; `predicted` holds each trial's worst residual at the first one."""
        batch, self.n, m = start.shape
        on = start.device
        self.tol, self.floor = tol[:, None], ROUNDING * torch.finfo(start.dtype).eps
        self.map_cost, self.maps, self.products, self.work = batch * m * m, 0, 0, 0.0
        self.left, self.solved = self.n, [Solved.CONVERGED] * batch
        self.rows = torch.arange(self.n, device=on).expand(batch, self.n)
        self.live = torch.ones(batch, self.n, dtype=torch.bool, device=on)
        self.residual = torch.full((batch, self.n), torch.inf, dtype=torch.float64, device=on)
        self.spent = torch.zeros_like(self.residual)
        self.mark, self.predicted = self.residual, predicted
        self.dropped: tuple[Tensor, Tensor] | None = None

    def update(self, now: Tensor, *, last: bool) -> Tensor:
        """Update the progress after a map with the rows' residuals; return which ended, (B, k)."""
        self.maps += 1
        self.count(1)
        met = now <= self.tol
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
            predicted=self.predicted,
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
