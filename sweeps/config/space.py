"""Dimensions of a search space: intervals, and choices to draw from."""

import math
from dataclasses import dataclass
from typing import Any, Literal

# Significant digits of a drawn value. The trial's name states all of them, so that the value
# can be typed again.
DIGITS = 6


@dataclass(frozen=True)
class Interval:
    """Values from low to high; whole numbers when both ends are whole.

    Attributes:
        low, high: ends of the interval; both belong to it.
        scale: whether values or their logarithms are uniformly distributed.
    """

    low: int | float
    high: int | float
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        """Validate the ends."""
        if not self.low < self.high:
            raise ValueError(f"the low end, {self.low}, must be below the high end, {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"on a logarithmic scale the low end must be above 0, not {self.low}")

    @property
    def integer(self) -> bool:
        """Return whether it contains whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, fraction: float) -> int | float:
        """The value at this fraction, in [0, 1), of the interval on its scale."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.integer else (self.low, self.high)
        if self.scale == "log":
            value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        else:
            value = low + fraction * (high - low)
        value = round(value) if self.integer else short(value)
        return min(max(value, self.low), self.high)

    def between(self, low: float, high: float) -> int | float | None:
        """The middle of a part of it, on its scale; None when no value is between."""
        middle = math.sqrt(low * high) if self.scale == "log" else (low + high) / 2
        if self.integer:
            middle = math.floor(middle) if math.floor(middle) > low else math.ceil(middle)
        elif low < short(middle) < high:
            middle = short(middle)
        return middle if low < middle < high else None


@dataclass(frozen=True)
class Choice:
    """A choice of one of these values."""

    values: list[Any]

    def at(self, fraction: float) -> Any:
        """The value at this fraction, in [0, 1), of the list."""
        return self.values[int(fraction * len(self.values))]


Dimension = Interval | Choice
Space = dict[str, Dimension]


def short(value: float) -> float:
    """The value, rounded to DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")
