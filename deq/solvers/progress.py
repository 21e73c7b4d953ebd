"""The stopping rule of every fixed-point solver, sample by sample.

The residuals are read from the device once a map; what follows from them are operations on a few
numbers, which take NumPy on the host a third of torch's time.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deq.solvers.solution import Solution, Solved

# Maps within which a residual must fall by a tenth, or it counts as stagnated ...
PATIENCE = 30
# ... if it is below this many units of rounding.
ROUNDING = 1e3
# Finished rows are dropped when at most this share of the rows is still live ...
COMPACT = 0.9
# ... and that saves at least this many multiplications a map.
WORTH = 2**18

Array = np.ndarray[Any, Any]


class Progress:
    """The progress of a solve: the samples that are live, and how the others ended.

    Each map takes `present` rows of every trial; rows and samples are counted through the
    trials. `places`, `samples`, `limit` and `mark` are of the live rows.

    Attributes:
        places: which of the present rows are live.
        samples: their samples.
        limit: their tolerances.
        mark: their residuals at the last check for stagnation; None before the first.
        residual: (B n,) each sample's residual at its last map.
        spent: (B n,) products of each sample.
    """

    def __init__(self, start: Tensor, tol: Array, predicted: Array) -> None:
        """Begin with no map.

        Args:
            start: (B, n, m) the first iterates.
            tol: (B,) tolerance of each trial.
            predicted: (B,) each trial's worst residual at the first map.
        """
        self.batch, self.n, m = start.shape
        self.floor = ROUNDING * torch.finfo(start.dtype).eps
        self.row_cost, self.maps, self.products, self.work = self.batch * m * m, 0, 0, 0.0
        self.present, self.solved = self.n, [Solved.CONVERGED] * self.batch
        self.limit, self.predicted = tol.repeat(self.n), predicted.tolist()
        self.places = self.samples = np.arange(len(self.limit))
        self.residual, self.spent = np.empty((2, len(self.limit)))
        self.mark: Array | None = None

    def update(self, now: Array, *, last: bool) -> tuple[Array, Array]:
        """Update the progress after a map.

        Args:
            now: (B, k) float64, residuals of the present rows.
            last: whether this is the last map.

        Returns:
            The rows that ended, and their samples.
        """
        self.maps += 1
        self.count(1)
        values = now.ravel()
        if len(self.places) < values.size:
            values = values[self.places]
        self.residual[self.samples], self.spent[self.samples] = values, self.products
        met = values <= self.limit
        if last or self.maps % PATIENCE == 0 or not values.max() < np.inf:  # NaN as well
            met = self._end_failed(met, values, last=last)
        ended = self.places[met], self.samples[met]
        self._keep(~met)
        return ended

    def _end_failed(self, met: Array, now: Array, *, last: bool) -> Array:
        """End the trials with a sample that will not be solved, and set `solved`."""
        finite, trial = now < np.inf, self.samples // self.n
        stuck: Array | bool = False
        if self.maps % PATIENCE == 0:
            if self.mark is not None:
                stuck = (now > 0.9 * self.mark) & (self.mark <= self.floor)
            self.mark = now
        failed = np.zeros(self.batch, dtype=bool)
        failed[trial[~met & (~finite | stuck | last)]] = True
        for b in failed.nonzero()[0].tolist():
            overflow = not finite[trial == b].all()
            ending = Solved.MAX_STEPS if last else Solved.STAGNATED
            self.solved[b] = Solved.NONFINITE if overflow else ending
        ended: Array = met | failed[trial]
        return ended

    def _keep(self, which: Array) -> None:
        """Keep these of the live rows."""
        self.places, self.samples = self.places[which], self.samples[which]
        self.limit = self.limit[which]
        self.mark = None if self.mark is None else self.mark[which]

    def count(self, products: int) -> None:
        """Count products with the present rows."""
        self.products += products
        self.work += products * self.present / self.n

    def compact(self) -> Array | None:
        """Drop finished rows if that saves time; return the places of the others, (B, k)."""
        trial, slot, left = self._order()
        dropped = self.present - left
        if left > COMPACT * self.present or dropped * self.row_cost < WORTH:
            return None
        kept = np.zeros((self.batch, left), dtype=np.int64)  # trials with fewer repeat a row
        kept[trial, slot] = self.places - trial * self.present
        self.places, self.present = trial * left + slot, left
        return kept

    def _order(self) -> tuple[Array | int, Array, int]:
        """Return each live row's trial and number in its trial, and the most of a trial."""
        if self.batch == 1:
            return 0, np.arange(len(self.samples)), len(self.samples)
        trial = self.samples // self.n
        counts = np.bincount(trial, minlength=self.batch)
        first = counts.cumsum() - counts
        return trial, np.arange(len(trial)) - first[trial], int(counts.max())

    def live(self) -> Array:
        """Return which of the present rows are live, (B, k)."""
        live = np.zeros(self.batch * self.present, dtype=bool)
        live[self.places] = True
        return live.reshape(self.batch, self.present)

    def solution(self, value: Tensor) -> Solution:
        """Return the solution with these images."""
        worst = self.residual.reshape(self.batch, self.n).max(-1).tolist()
        return Solution(
            value=value,
            solved=self.solved,
            residual=[math.inf if math.isnan(r) else r for r in worst],
            predicted=self.predicted,
            products=self.spent.reshape(self.batch, self.n).mean(-1).tolist(),
            work=self.work,
            maps=self.maps,
            low=[math.nan] * self.batch,
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
