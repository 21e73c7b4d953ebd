"""Describe the spread of numbers in words, and choose evenly from a long sequence."""

import statistics
from collections.abc import Sequence
from typing import TypeVar

import deq
from sweeps.planning.outcomes import format_number

T = TypeVar("T")
# Fewer values than this are listed one by one.
FEW = 5


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items at even distances; the first and the last are included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def short(value: float) -> str:
    """A number for a sentence: three significant digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def between(low: float, high: float) -> str:
    """A range, as "0.5 to 7"; one number if the shown digits of its ends are equal."""
    return short(low) if short(low) == short(high) else f"{short(low)} to {short(high)}"


def spread(values: Sequence[float]) -> str:
    """Describe the values: all of them if they are few, else quartiles and extremes."""
    ordered = sorted(values)
    if len(ordered) == 1:
        return f"{short(ordered[0])} in the one trial"
    if short(ordered[0]) == short(ordered[-1]):
        return f"{short(ordered[0])} in all {len(ordered)} trials"
    if len(ordered) < FEW:
        return f"{listed([short(v) for v in ordered])} in the {len(ordered)} trials"
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive")
    half = f"{short(low)} and {short(high)}"
    half = f"between {half}" if short(low) != short(high) else f"at {short(low)}"
    return (
        f"median {short(middle)} over {len(ordered)} trials, half of them {half}, "
        f"all between {short(ordered[0])} and {short(ordered[-1])}"
    )


def of_seeds(values: Sequence[float]) -> list[str]:
    """Mean of a group's seeds, followed by their spread.

    For fewer than FEW seeds the spread is the list of values. Otherwise it is the standard
    deviation and the 95 % confidence interval of the mean; if that interval goes below zero
    although all values are positive, the smallest and largest value replace it. Values with
    equal digits have no spread.
    """
    mean = deq.mean(values)
    if mean.deviation is None or mean.half_width is None:
        return [format_number(mean.value), "one seed"]
    if mean.count < FEW:
        return [format_number(mean.value), ", ".join(short(v) for v in values)]
    if short(min(values)) == short(max(values)):
        return [format_number(mean.value), f"the same in all {mean.count}"]
    low, high = mean.value - mean.half_width, mean.value + mean.half_width
    interval = f"95 %: {between(low, high)}"
    if low <= 0 < min(values):
        interval = f"all {short(min(values))} to {short(max(values))}"
    return [format_number(mean.value), f"sd {short(mean.deviation)}", interval]
