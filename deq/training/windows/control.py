"""Choose the length of the next window, or single steps where windows cost more."""

import math
from dataclasses import dataclass

from deq.training.windows.polynomials import following

# Error of e that a window's length is chosen for, in tol.
TARGET = 0.2
# Greatest ratio of the lengths of two successive windows.
GROWTH = 3.0
# Share by which a run may cost more than single steps.
DEARER = 0.25
# Single steps after the first window that does not pay; doubled after each that follows.
BURST = 8
# Single steps after a window that does not pay, at most.
LONGEST_BURST = 256
# Length of a window after single steps, as a share of the step it begins at.
AFTER_STEPS = 0.35
# Ratio of the steps left to a window's length up to which one window takes all of them.
WHOLE = 1.15


@dataclass
class Control:
    """Lengths of windows, and a comparison of their cost with that of single steps.

    Costs are products, thin ones counted n / m.

    Attributes:
        degree: degree of the polynomials.
        expected: estimated cost of a window.
        length: length of the next window in steps; 0 if it follows single steps.
        burst: single steps after the next window that does not pay.
        rest: single steps left before a window is tried.
        spent: cost since the last window was taken.
        stepwise: cost of all steps so far without windows: of single steps as measured, of
            steps in windows the least that a step can cost.
        total: cost of all steps so far.
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
        """Greatest cost that the next window may have."""
        return (1 + DEARER) * self.stepwise - self.total

    @property
    def due(self) -> bool:
        """True if a window is tried now."""
        return self.rest <= 0 and self.allowance >= self.expected

    def steps(self, step: int, left: int) -> int:
        """Return the length of a window.

        Args:
            step: its first step.
            left: steps left of the run.
        """
        length = self.length or max(12.0, AFTER_STEPS * step)
        return left if left <= WHOLE * length else int(max(2.0, length))

    def add_step(self, cost: float) -> None:
        """Account for a single step of this cost."""
        self.stepwise += cost
        self.total += cost
        self.rest -= 1

    def add_taken(self, start: int, steps: int, error: float, cost: float, least: float) -> None:
        """Account for a window that was taken, and choose the next length.

        Args:
            start: the window's first step.
            steps: the window's length.
            error: error of the window's e, in tol.
            cost: products of the window.
            least: products of a single step, at least.
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

    def add_rejected(self, start: int, steps: int, error: float, cost: float, least: float) -> None:
        """Account for a window that was rejected, and shorten the next; arguments: `add_taken`."""
        self.total += cost
        self.spent += cost
        known = 0 < error < math.inf
        factor = 0.9 * (TARGET / error) ** (1 / (self.degree + 1)) if known else 0.5
        self.length = int(steps * min(0.7, max(0.25, factor)))
        if self.length < 2 * self.degree or self.spent >= least * max(self.length, 10):
            self._rest()

    def add_unresolved(self, cost: float) -> None:
        """Account for products that showed that e is too close to rounding for a window."""
        self.total += cost
        self.rest = LONGEST_BURST

    def pause(self) -> None:
        """Take at least BURST single steps next, whether the last window paid or not."""
        self.rest, self.length = max(self.rest, BURST), 0.0

    def _rest(self) -> None:
        """Take `burst` single steps next, and twice as many the next time."""
        self.rest, self.burst = self.burst, min(2 * self.burst, LONGEST_BURST)
        self.length = self.spent = 0.0
