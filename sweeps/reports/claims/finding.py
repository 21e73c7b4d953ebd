"""Finding of a claim in a sweep's trials, and the tolerances that all claims share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        held: in how many of them it held; all or none for a claim about all of them together.
        measured: the measured quantity, in words.
        of: what is counted: trials, networks (which trials with other step sizes share) or
            kernels (which networks of other widths and seeds share).
    """

    count: int
    held: int
    measured: str
    of: str = "trials"

    @property
    def counted(self) -> str:
        """The count in words, as "1 network"."""
        return f"{self.count} {self.of[:-1] if self.count == 1 else self.of}"

    @property
    def verdict(self) -> str:
        """One or two words."""
        if not self.count:
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
