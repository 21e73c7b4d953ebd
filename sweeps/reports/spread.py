"""Spread of a number over several trials in words; of few trials the values themselves."""

import statistics
from collections.abc import Sequence

import deq
from sweeps.planning.outcomes import format_number

# Fewer values than these are listed: an interval or a quartile of them says nothing.
FEW = 5


def short(value: float) -> str:
    """A number for a sentence: three significant digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def spread(values: Sequence[float]) -> str:
    """Describe the values: all of them when they are few, else quartiles and ends."""
    ordered = sorted(values)
    if len(ordered) == 1:
        return f"{short(ordered[0])} in the one trial"
    if len(ordered) < FEW:
        return f"{listed([short(v) for v in ordered])} in the {len(ordered)} trials"
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return (
        f"median {short(middle)} over {len(ordered)} trials, half of them between {short(low)} "
        f"and {short(high)}, all between {short(ordered[0])} and {short(ordered[-1])}"
    )


def of_seeds(values: Sequence[float]) -> list[str]:
    """The mean over a group's seeds, then how its values spread.

    The spread of fewer than FEW is the values themselves. Of more it is the standard
    deviation and the 95 % interval of the mean, or the least and the greatest value where
    that interval would go below zero and no value does.
    """
    mean = deq.mean(values)
    if mean.deviation is None or mean.half_width is None:
        return [format_number(mean.value), "one seed"]
    if mean.count < FEW:
        return [format_number(mean.value), ", ".join(short(v) for v in values)]
    low, high = mean.value - mean.half_width, mean.value + mean.half_width
    interval = f"95 %: {short(low)} to {short(high)}"
    if low <= 0 < min(values):
        interval = f"all {short(min(values))} to {short(max(values))}"
    return [format_number(mean.value), f"sd {short(mean.deviation)}", interval]
