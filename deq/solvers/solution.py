"""The result of a fixed-point solve."""

import math
from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor


class Solved(IntEnum):
    """Status of a fixed-point solve at its end."""

    CONVERGED = 0
    STAGNATED = 1
    MAX_STEPS = 2
    NONFINITE = 3

    @property
    def advice(self) -> str:
        """One sentence: the problem and its remedy."""
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


def solved_at_once(value: Tensor, residual: list[float]) -> Solution:
    """Return the solution of a pack whose samples all met their tolerance at the first map.

    Args:
        value: (B, n, m) the images.
        residual: per trial, the worst sample's relative residual.
    """
    count = len(residual)
    return Solution(
        value=value,
        solved=[Solved.CONVERGED] * count,
        residual=residual,
        predicted=residual,
        products=[1.0] * count,
        work=1.0,
        maps=1,
        low=[math.nan] * count,
    )
