"""Checks of the claims about where training ends, at which rate, and what the width changes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeps.reports.claims.finding import NEAR, NOT_TESTED, WIDTH, Check, Finding, joint
from sweeps.reports.claims.frame import ETA, GOAL, UNIT
from sweeps.reports.frames import LINEARIZED, MEASURED, OVER_LINEARIZED, has_linearised_rate
from sweeps.reports.spread import between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame, Series

FINAL_RATE, DRIFT = "rate/measured_end_over_asymptotic", "theory/kernel_drift"
METRICS = (MEASURED, LINEARIZED, OVER_LINEARIZED, FINAL_RATE, DRIFT)
# A loss of this share of the first one or less is a global optimum up to rounding.
OPTIMUM = 1e-12


def optimum(frame: "DataFrame") -> Finding:
    """Check whether trials that were to reach a global optimum did."""
    too_large = (frame[UNIT] == "tangent") & (frame[ETA] >= 1)  # 2 / lambda_max(H(0)) and more
    ended = frame[(frame["status"] != "budget") & (frame[GOAL] <= OPTIMUM) & ~too_large]
    if ended.empty:
        return NOT_TESTED
    reached = int((ended["status"] == "converged").sum())
    goal = short(ended[GOAL].max())
    text = f"the loss fell to {goal} of its first value in {reached} of {len(ended)}"
    return Finding(len(ended), reached, text)


def final_rate(frame: "DataFrame") -> Finding:
    """Check whether the last measured rate is that of the slowest mode of H, in each trial."""
    ratio = frame[FINAL_RATE][frame["status"] == "converged"].dropna()
    if ratio.empty:
        return NOT_TESTED
    text = "measured rate divided by -2 log(1 - eta lambda_min(H)):"
    near = int(((ratio - 1).abs() <= NEAR).sum())
    return Finding(len(ratio), near, f"{text} {between(ratio.min(), ratio.max())}")


def falls_with_width(values: "Callable[[DataFrame], Series[float]]", text: str) -> Check:
    """Return a check whether a quantity's median is less at the greatest width than at the least.

    Args:
        values: computes the quantity of each trial from the frame.
        text: the medians and widths in words, with four places.
    """

    def check(frame: "DataFrame") -> Finding:
        quantity = values(frame).dropna()
        medians = quantity.groupby(frame[WIDTH][quantity.index]).median()
        if len(medians) < 2:
            return NOT_TESTED
        first, last = medians.index[0], medians.index[-1]
        shown = text.format(short(medians[first]), first, short(medians[last]), last)
        return joint(len(quantity), bool(medians[last] < medians[first]), shown)

    return check


def linearisation_error(frame: "DataFrame") -> "Series[float]":
    """Return |measured / linearised rate - 1| of the trials in which it means something."""
    return (frame[OVER_LINEARIZED][has_linearised_rate(frame)] - 1).abs()


def kernel_drift(frame: "DataFrame") -> "Series[float]":
    """Return the relative change of H in each trial."""
    return frame[DRIFT]
