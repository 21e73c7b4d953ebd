"""Choose the length of the next window, or single steps where windows cost more."""

import math
from dataclasses import dataclass

from deq.training.windows.polynomials import following

# Of tol: the error that a window's length is chosen for. Most growth from one to the next.
TARGET, GROWTH = 0.2, 3.0
# A run may be dearer than single steps by this share.
DEARER = 0.25
# Steps taken singly after windows that do not pay: at first, and at most.
BURST, LONGEST_BURST = 8, 256
# Length of a window after single steps, as a share of the step it begins at.
AFTER_STEPS = 0.35
# A window is as long as what is left of the run, where that is not longer by more than this.
WHOLE = 1.15


@dataclass
class Control:
    """Lengths of windows, and an account of their cost against single steps.

    Costs are products, thin ones counted n / m.

    Attributes:
        degree: of the polynomials.
        expected: cost of a window.
        length: of the next window; 0 where it follows single steps.
        burst: single steps after the next window that does not pay.
        rest: single steps still to be taken before a window is tried.
        spent: cost since the last window was taken.
        stepwise: what all steps so far cost singly: the single ones as they did, those in
            windows the least that a step can cost.
        total: what they did cost.
    """

    degree: int
    expected: float
    length: float = 0.0
    burst: int = BURST
    rest: int = 3
    spent: float = 0.0
    stepwise: float = 0.0
    total: float = 0.0

    STATE = ("length", "burst", "rest", "spent", "stepwise", "total")

    @property
    def allowance(self) -> float:
        """Cost that the next window may have."""
        return (1 + DEARER) * self.stepwise - self.total

    @property
    def due(self) -> bool:
        """Whether a window is tried now."""
        return self.rest <= 0 and self.allowance >= self.expected

    def steps(self, step: int, left: int) -> int:
        """Steps of a window from this step, of a run of which so many are left."""
        length = self.length or max(12.0, AFTER_STEPS * step)
        return left if left <= WHOLE * length else int(max(2.0, length))

    def add_step(self, cost: float) -> None:
        """One single step was taken."""
        self.stepwise += cost
        self.total += cost
        self.rest -= 1

    def taken(self, start: int, steps: int, error: float, cost: float, least: float) -> None:
        """A window was taken.

        Args:
            start: its first step.
            steps: its length.
            error: of its e, as a multiple of tol.
            cost: of the window.
            least: what a single step costs at least.
        """
        self.total += cost
        self.stepwise += least * steps
        power = 1 / (self.degree + 1)
        factor = min(GROWTH, max(0.5, 0.95 * (TARGET / max(error, 1e-4)) ** power))
        self.length = min(steps * GROWTH, following(steps, start + steps, factor))
        pays = self.spent + cost < least * max(steps, self.length)
        self.spent = 0.0
        if pays:
            self.burst = BURST
        else:
            self._rest()

    def rejected(self, start: int, steps: int, error: float, cost: float, least: float) -> None:
        """A window was not taken; arguments as of `taken`."""
        self.total += cost
        self.spent += cost
        known = 0 < error < math.inf
        factor = 0.9 * (TARGET / error) ** (1 / (self.degree + 1)) if known else 0.5
        self.length = int(steps * min(0.7, max(0.25, factor)))
        if self.length < 2 * self.degree or self.spent >= least * max(self.length, 10):
            self._rest()

    def unresolved(self, cost: float) -> None:
        """Rounding is too much of e for a window, which was found at this cost."""
        self.total += cost
        self.rest = LONGEST_BURST

    def pause(self) -> None:
        """Take some single steps now, whatever the last window was."""
        self.rest, self.length = max(self.rest, BURST), 0.0

    def _rest(self) -> None:
        """Take single steps for a while."""
        self.rest, self.burst = self.burst, min(2 * self.burst, LONGEST_BURST)
        self.length = self.spent = 0.0
