"""Checks of the claims about where training ends, at which rate, and what the width changes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeps.reports.claims.finding import (
    COARSE,
    NEAR,
    NOT_TESTED,
    WIDTH,
    Check,
    Finding,
    exponent_of,
    joint,
    no_exponent,
)
from sweeps.reports.claims.frame import ETA, GOAL, NETWORK, PLAIN, UNIT, WENT_WRONG, each_once
from sweeps.reports.claims.width_law import power_of_width
from sweeps.reports.frames import LINEARIZED, MEASURED, OVER_LINEARIZED, has_linearised_rate
from sweeps.reports.spread import between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame, Series

FINAL_RATE, DRIFT = "rate/measured_end_over_asymptotic", "theory/kernel_drift"
# Of trials with lambda_0 > 0, up to rounding, that are trained with one step size.
BOUND = "rate/bound"
STEP = "train/eta"
# Step size and momentum of the fastest heavy ball, from which lambda_max(H(0)) follows.
BEST_STEP, BEST_MOMENTUM = "theory/heavy_ball_eta", "theory/heavy_ball_momentum"
METRICS = (
    *(MEASURED, LINEARIZED, OVER_LINEARIZED, FINAL_RATE, DRIFT),
    *(BOUND, STEP, BEST_STEP, BEST_MOMENTUM),
)
# A loss of this share of the first one or less is a global optimum up to rounding.
OPTIMUM = 1e-12


def optimum(frame: "DataFrame") -> Finding:
    """Check whether trials that were to reach a global optimum did."""
    ended = frame[(frame["status"] != "budget") & (frame[GOAL] <= OPTIMUM) & frame[PLAIN]]
    ended = ended[ended[BOUND].notna() & _is_stable(ended)]
    if ended.empty:
        return NOT_TESTED
    reached = int((ended["status"] == "converged").sum())
    goal = short(ended[GOAL].max())
    text = f"the loss fell to {goal} of its first value in {reached} of {len(ended)}"
    return Finding(len(ended), reached, text)


def _is_stable(frame: "DataFrame") -> "Series[bool]":
    """Return a mask of the trials with eta < 2 / lambda_max(H(0)), whatever its unit is.

    With h the extreme eigenvalues of H(0), BEST_STEP is 4 / (sqrt h_max + sqrt h_min)^2, and the
    root of BEST_MOMENTUM (sqrt h_max - sqrt h_min) / (sqrt h_max + sqrt h_min).
    """
    limit = 2 * frame[BEST_STEP] / (1 + frame[BEST_MOMENTUM] ** 0.5) ** 2
    return (frame[STEP] < limit).where(frame[UNIT] != "tangent", frame[ETA] < 1)


def final_rate(frame: "DataFrame") -> Finding:
    """Check whether the last measured rate is that of the slowest mode of H, in each trial.

    A trial that ends at a greater loss may not have left the slowest mode alone.
    """
    ended = frame[(frame["status"] == "converged") & (frame[GOAL] <= OPTIMUM) & frame[PLAIN]]
    ratio = ended[FINAL_RATE].dropna()
    if ratio.empty:
        return NOT_TESTED
    text = "measured rate divided by -2 log(1 - eta lambda_min(H)):"
    near = int(((ratio - 1).abs() <= NEAR).sum())
    return Finding(len(ratio), near, f"{text} {between(ratio.min(), ratio.max())}")


def falls_with_width(values: "Callable[[DataFrame], Series[float]]", text: str) -> Check:
    """Return a check whether a quantity falls as a power of the width; see `power_of_width`.

    The power is below 0 by more than its interval. If the interval is wide and has 0 inside,
    nothing is decided. A network that was trained with several step sizes has their median.

    Args:
        values: computes the quantity of each trial from the frame.
        text: the medians and widths in words, with four places.
    """

    def check(frame: "DataFrame") -> Finding:
        trials = frame[frame[PLAIN] & ~frame["status"].isin(WENT_WRONG)]
        trials = trials.assign(value=values(trials))
        trials = trials.assign(value=trials.groupby(NETWORK)["value"].transform("median"))
        networks = each_once(trials[trials["value"] > 0], NETWORK, "value")
        medians = networks.groupby(WIDTH)["value"].median()
        if len(medians) < 2:
            return NOT_TESTED
        law = power_of_width(networks, "value")
        if law is None or law.margin > max(COARSE, abs(law.exponent)):
            return no_exponent(len(networks), law, "m", "networks")
        first, last = medians.index[0], medians.index[-1]
        shown = text.format(short(medians[first]), first, short(medians[last]), last)
        shown += f"; falls as {exponent_of(law, 'm')}"
        return joint(len(networks), law.exponent < -law.margin, shown, "networks")

    return check


def linearisation_error(frame: "DataFrame") -> "Series[float]":
    """Return |measured / linearised rate - 1| of the trials in which it means something."""
    return (frame[OVER_LINEARIZED][has_linearised_rate(frame)] - 1).abs()


def kernel_drift(frame: "DataFrame") -> "Series[float]":
    """Return the relative change of H in each trial."""
    return frame[DRIFT]
