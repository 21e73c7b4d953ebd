"""Checks of the claims about the theorem's conditions and their consequences."""

from typing import TYPE_CHECKING

import deq
from sweeps.reports.claims.finding import NOT_TESTED, WIDTH, Check, Finding
from sweeps.reports.claims.frame import ANY_WIDTH, NETWORK, each_once
from sweeps.reports.spread import FEW, between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

HELD = "theory/condition_held"
METRICS = (
    *(HELD, "theory/bound_held", "theory/bound_violation", "theory/lambda_held"),
    *("theory/lambda_ratio_min", "theory/well_posed_held", "theory/distance_over_delta"),
    *("theory/lambda_0_over_m", "theory/lambda_star", "theory/networks_drawn"),
)


def guaranteed(flag: str, text: str, metric: str, *, greatest: bool = False) -> Check:
    """Return a check of a consequence of the theorem in the networks that satisfy (7) to (10).

    Args:
        flag: metric that is 1 where it held; "" where a quantity of at most 1 says so.
        text: the measured quantity, with a place for its extreme value.
        metric: the quantity.
        greatest: whether its greatest value is the worst.
    """

    def check(frame: "DataFrame") -> Finding:
        quantity = frame[metric]
        measured = frame[quantity.notna() & frame[HELD].notna()]
        held = measured[flag] == 1 if flag else quantity[measured.index] <= 1
        assumed = measured[HELD] == 1
        if measured.empty:
            return NOT_TESTED
        worst = quantity[measured.index][assumed]
        parts = []
        if len(worst):
            parts.append(text.format(short(worst.max() if greatest else worst.min())))
        others = held[~assumed]
        if len(others):
            parts.append(f"elsewhere, not guaranteed: held in {int(others.sum())} of {len(others)}")
        return Finding(len(worst), int(held[assumed].sum()), "; ".join(parts))

    return check


def initial(frame: "DataFrame") -> Finding:
    """Check whether lambda_0 >= m lambda_* / 2, in each network."""
    networks = each_once(frame, NETWORK, "theory/lambda_0_over_m", "theory/lambda_star")
    ratio = networks["theory/lambda_0_over_m"] / networks["theory/lambda_star"]
    if ratio.empty:
        return NOT_TESTED
    widest = ratio[networks[WIDTH] == networks[WIDTH].max()]
    held = int((widest >= 0.5).sum())
    text = (
        f"lambda_0 / (m lambda_*) from {short(ratio.min())}; at the greatest width at least 1/2 "
        f"in {held} of {len(widest)}"
    )
    if len(widest) >= FEW and networks[ANY_WIDTH].nunique() == 1:  # of one law, independent
        share = deq.proportion(held, len(widest))
        text += f" (probability {between(share.low, share.high)}, 95 %)"
    return Finding(len(ratio), int((ratio >= 0.5).sum()), text, "networks")


def redrawn(frame: "DataFrame") -> Finding:
    """Check whether redrawing ended with a network that satisfies (7) to (9)."""
    rows = each_once(frame, NETWORK, "theory/networks_drawn")
    if rows.empty:
        return NOT_TESTED
    rejected = int((rows["status"] == "rejected").sum())
    means = rows["theory/networks_drawn"].groupby(rows[WIDTH]).mean()
    ends = dict.fromkeys((means.index[0], means.index[-1]))
    text = ", ".join(f"{short(means[width])} at width {width}" for width in ends)
    held = len(rows) - rejected
    return Finding(len(rows), held, f"networks drawn, on average: {text}", "networks")
