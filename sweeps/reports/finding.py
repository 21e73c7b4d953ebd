"""Finding of a claim in a sweep's networks, and the rules that all claims share."""

from dataclasses import dataclass

WIDTH = "model.width"
# Standard error of an exponent above which it says nothing.
COARSE = 0.1
# Differences of a fitted exponent from the claimed one, in standard errors, that are no
# difference.
ERRORS = 3.0


@dataclass(frozen=True)
class Finding:
    """Result of a claim in the networks that satisfy its assumptions.

    Attributes:
        networks: how many there are.
        held: in how many of them it held; all or none for a claim about all of them together.
        measured: the measured quantity, in words.
    """

    networks: int
    held: int
    measured: str

    @property
    def verdict(self) -> str:
        """One or two words."""
        if not self.networks:
            return "not tested"
        if self.held == self.networks:
            return "seen"
        return f"seen in {self.held} of {self.networks}" if self.held else "not seen"


def together(networks: int, held: bool, measured: str) -> Finding:
    """Finding of a claim about all networks together."""
    return Finding(networks, networks if held else 0, measured)
