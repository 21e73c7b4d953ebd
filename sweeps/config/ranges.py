"""Values of range(start, stop, step), computed in decimal where one of the three is decimal."""

import math
from decimal import Decimal

from sweeps.errors import ConfigError

Number = int | float
# A longer range is a typing error.
MOST_VALUES = 100_000
# A float with more digits than this has rounding errors of a calculation.
_TYPED_DIGITS = 12


def range_values(start: Number, stop: Number, step: Number) -> list[Number]:
    """start, start + step, ... before `stop`, computed in decimal.

    range(0.1, 0.5, 0.1) contains 0.3, as a user types it, and not 0.1 + 2 * 0.1 in binary.

    Raises:
        ConfigError: the step is 0, an end is not finite, or there are too many values.
    """
    numbers = (start, stop, step)
    if any(isinstance(n, bool) or not math.isfinite(n) for n in numbers) or step == 0:
        raise ConfigError("a range needs finite numbers for its ends, and a step other than 0")
    first, end, by = _decimal(start), _decimal(stop), _decimal(step)
    count = max(0, math.ceil((end - first) / by))
    if count > MOST_VALUES:
        raise ConfigError(f"a range has at most {MOST_VALUES} values, not {count}")
    if all(isinstance(number, int) for number in numbers):
        return list(range(int(start), int(stop), int(step)))
    return [float(first + i * by) + 0.0 for i in range(count)]


def _decimal(number: Number) -> Decimal:
    """The number as it was typed; Hydra's sort() computes range ends in binary."""
    short = f"{number:.15g}"
    digits = short.partition("e")[0].replace(".", "").replace("-", "").strip("0")
    rounded = isinstance(number, float) and len(digits) <= _TYPED_DIGITS
    return Decimal(short if rounded else repr(number))
