"""The one loop and the one stopping rule of every fixed-point solver.

A pack of B fixed points z_b = f_b(z_b), each of n independent samples, is
iterated together. A trial stops by its own residual, so its answer does not
depend on its neighbours in the pack.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

# f(z, live): the map; it may skip or freeze what it keeps for trials not live.
Map = Callable[[Tensor, Tensor], Tensor]
# step(z, fz): the solver's next iterate.
Step = Callable[[Tensor, Tensor], Tensor]

# A residual that has not fallen for this many steps has stopped falling.
PATIENCE = 30
# Below this many units of rounding, a residual that no longer falls is rounding.
ROUNDING = 1e3


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
    "the equilibrium may not exist (L ||W||_2 >= 1), or raise solver.max_steps",
    Solved.NONFINITE: "the iterates overflowed: no stable equilibrium was found",
}


@dataclass(frozen=True)
class Solution:
    """The fixed points of a pack.

    Attributes:
        value: (B, k, n) the iterate after the last map.
        solved: per trial, how its solve ended.
        residual: (B,) float64, the relative residual at the last map, that is of the
            iterate before `value`; `value` itself is better by the contraction factor.
        steps: per trial, the number of maps applied.
    """

    value: Tensor
    solved: list[Solved]
    residual: Tensor
    steps: list[int]


def relative_residual(z: Tensor, fz: Tensor) -> Tensor:
    """max_i ||f(z)_i - z_i||_2 / ||f(z)_i||_2 over the samples i; (B, k, n) to (B,)."""
    tiny = torch.finfo(z.dtype).tiny
    change: Tensor = torch.linalg.vector_norm(fz - z, dim=-2)
    size: Tensor = torch.linalg.vector_norm(fz, dim=-2)
    return (change / size.clamp_min(tiny)).amax(-1).double()


def picard(z: Tensor, fz: Tensor) -> Tensor:
    """Picard's step: the image itself."""
    del z
    return fz


def solve(f: Map, z: Tensor, *, tol: float, max_steps: int, step: Step = picard) -> Solution:
    """Iterate z until max_i ||f(z)_i - z_i|| <= tol ||f(z)_i|| for each trial.

    Args:
        f: the map, (B, k, n) to the same shape, samples independent of one another.
        z: (B, k, n) the first iterate; it is not modified.
        tol: relative tolerance on the worst sample of a trial.
        max_steps: the most maps applied.
        step: the solver's step; the iterate returned is always a plain image f(z).
    """
    batch = z.shape[0]
    live = torch.ones(batch, dtype=torch.bool, device=z.device)
    residual = torch.full((batch,), torch.inf, dtype=torch.float64, device=z.device)
    best, best_step = residual.clone(), torch.zeros(batch, dtype=torch.int64, device=z.device)
    floor = ROUNDING * torch.finfo(z.dtype).eps
    solved = [Solved.MAX_STEPS] * batch
    steps = [max_steps] * batch
    value = z
    for k in range(1, max_steps + 1):
        image = f(z, live)
        now = relative_residual(z, image)
        everyone = bool(live.all())
        residual = now if everyone else torch.where(live, now, residual)
        value = image if everyone else torch.where(live[:, None, None], image, value)
        fell = residual < best
        best = torch.where(fell, residual, best)
        best_step = torch.where(fell, k, best_step)
        stuck = (k - best_step >= PATIENCE) & (best <= floor)
        ended = live & ((residual <= tol) | ~torch.isfinite(residual) | stuck)
        if bool(ended.any()):
            for b in ended.nonzero().flatten().tolist():
                solved[b] = _ending(float(residual[b]), tol)
                steps[b] = k
            live = live & ~ended
            if not bool(live.any()):
                break
        z = step(z, image)
    return Solution(value, solved, residual, steps)


def _ending(residual: float, tol: float) -> Solved:
    if residual <= tol:
        return Solved.CONVERGED
    if residual < torch.inf:  # false for NaN as well
        return Solved.STAGNATED
    return Solved.NONFINITE
