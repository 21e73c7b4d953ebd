"""Finding of a claim in a sweep's trials, and the rules that all claims share."""

from dataclasses import dataclass

WIDTH = "model.width"
# Half-width of an exponent's 99.73 % interval above which it says nothing.
COARSE = 0.3
# Greatest relative difference of a final rate, or of an exponent in the step size, from the
# claimed one that is none.
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


def together(count: int, held: bool, measured: str, of: str = "trials") -> Finding:
    """Finding of a claim about all of them together."""
    return Finding(count, count if held else 0, measured, of)
