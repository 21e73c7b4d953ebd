"""Finding of a claim in a sweep's trials, and the tolerances that all claims share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deq
from sweeps.reports.spread import short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

WIDTH = "model.width"
# An exponent whose 99.73 % interval has a greater half-width than this decides nothing.
COARSE = 0.3
# A final rate, or an exponent in the step size, agrees with the claimed one up to this relative
# difference.
NEAR = 0.1


@dataclass(frozen=True)
class Finding:
    """Result of a claim in what satisfies its assumptions.

    Attributes:
        count: how many trials, networks or kernels satisfy them.
        held: in how many of them it held; all or none for a claim about all of them together;
            0 if nothing was decided.
        measured: the measured quantity, in words; if nothing was decided, also why.
        of: what is counted: trials, networks (which trials with other step sizes share) or
            kernels (which networks of other widths and seeds share).
        decided: False if they are too few, or the quantity's error is too large.
    """

    count: int
    held: int
    measured: str
    of: str = "trials"
    decided: bool = True

    @property
    def counted(self) -> str:
        """The count in words, as "1 network"."""
        return f"{self.count} {self.of[:-1] if self.count == 1 else self.of}"

    @property
    def verdict(self) -> str:
        """One or two words."""
        if not (self.count and self.decided):
            return "not tested"
        if self.held == self.count:
            return "seen"
        return f"seen in {self.held} of {self.count}" if self.held else "not seen"


NOT_TESTED = Finding(0, 0, "")
# Computes a finding from a sweep's trials; see `claims_frame`.
Check = Callable[["DataFrame"], Finding]


def joint(count: int, held: bool, measured: str, of: str = "trials") -> Finding:
    """Return the finding of a claim about all trials, networks or kernels together.

    Args:
        count: how many satisfy its assumptions.
        held: whether the claim held.
        measured: the measured quantity, in words.
        of: what is counted.
    """
    return Finding(count, count if held else 0, measured, of)


def undecided(count: int, why: str, of: str = "trials") -> Finding:
    """Return the finding of a claim that too few trials, or a large error, leave open.

    Args:
        count: how many satisfy its assumptions.
        why: what was measured, and why it decides nothing.
        of: what is counted.
    """
    return Finding(count, 0, why, of, decided=False)


def exponent_of(law: "deq.PowerLaw", variable: str) -> str:
    """Return "m^(-0.5 +- 0.01)": a fitted power of a variable with its standard error."""
    return f"{variable}^({short(law.exponent)} +- {short(law.stderr)})"


def no_exponent(count: int, law: "deq.PowerLaw | None", variable: str, of: str) -> Finding:
    """Return the finding of a claim about an exponent that is not known well enough.

    Args:
        count: how many trials, networks or kernels it was fitted to.
        law: the fit; None if there are too few points for one.
        variable: what the power is of.
        of: what is counted.
    """
    if law is None:
        return undecided(count, "too few to fit an exponent with an error", of)
    margin = f"{variable}^({short(law.exponent)} +- {short(law.margin)}, 99.73 %)"
    return undecided(count, f"falls as {margin}: too wide an interval to decide", of)
