"""Checks of the claims about the theorem's conditions and their consequences."""

from typing import TYPE_CHECKING

import deq
from sweeps.reports.claims.finding import NOT_TESTED, WIDTH, Check, Finding, undecided
from sweeps.reports.claims.frame import ACTIVATION, ANY_WIDTH, NETWORK, REDRAWN, SAMPLES, each_once
from sweeps.reports.spread import FEW, between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

HELD, DRAWN = "theory/condition_held", "theory/networks_drawn"
LAMBDA_0, LAMBDA_STAR = "theory/lambda_0_over_m", "theory/lambda_star"
REJECTED = "rejected"
METRICS = (
    *(HELD, "theory/bound_held", "theory/bound_violation", "theory/lambda_held"),
    *("theory/lambda_ratio_min", "theory/well_posed_held", "theory/distance_over_delta"),
    *(LAMBDA_0, LAMBDA_STAR, DRAWN),
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
    """Check whether lambda_0 >= m lambda_* / 2 at the greatest width, in each random network.

    Narrower networks than samples do not count, for there lambda_0 is 0; nor do those of
    model.init=redraw, for they are chosen.
    """
    able = frame[(frame[WIDTH] >= frame[SAMPLES]) & ~frame[REDRAWN]]
    networks = each_once(able, NETWORK, LAMBDA_0, LAMBDA_STAR)
    if networks.empty:
        return NOT_TESTED
    ratio = networks[LAMBDA_0] / networks[LAMBDA_STAR]
    last = networks.assign(held=ratio >= 0.5)
    last = last[last[WIDTH] == last.groupby(ANY_WIDTH)[WIDTH].transform("max")]
    held = int(last["held"].sum())
    text = (
        f"lambda_0 / (m lambda_*) from {short(ratio.min())}; at the greatest width at least 1/2 "
        f"in {held} of {len(last)} ({_probabilities(last)}, 95 %)"
    )
    if last.groupby(ANY_WIDTH).size().min() < FEW:
        why = f"{text}: fewer than {FEW} seeds decide nothing"
        return undecided(len(last), why, "networks")
    return Finding(len(last), held, text, "networks")


def _probabilities(networks: "DataFrame") -> str:
    """Return the interval of the probability that it holds, for each law of networks.

    Args:
        networks: networks of the greatest width of their law, with a column `held`.
    """
    laws = [part for _, part in networks.groupby(ANY_WIDTH, sort=False)]
    shares = [deq.proportion(int(part["held"].sum()), len(part)) for part in laws]
    names = [part[ACTIVATION].iloc[0] for part in laws]
    if len(laws) == 1:
        return f"probability {between(shares[0].low, shares[0].high)}"
    if len(set(names)) < len(laws):
        least = short(min(share.low for share in shares))
        return f"probability of each of {len(laws)} groups of seeds at least {least}"
    each = zip(names, shares, strict=True)
    listed = ", ".join(f"{name} {between(share.low, share.high)}" for name, share in each)
    return f"probability: {listed}"


def redrawn(frame: "DataFrame") -> Finding:
    """Check whether redrawing ended with a network that satisfies (7) to (9)."""
    rows = each_once(frame, NETWORK, DRAWN)
    if rows.empty:
        return NOT_TESTED
    ends = dict.fromkeys((rows[WIDTH].min(), rows[WIDTH].max()))
    parts = [f"{_draws(rows[rows[WIDTH] == width])} at width {width}" for width in ends]
    text = f"networks drawn until one was accepted, on average: {', '.join(parts)}"
    held = int((rows["status"] != REJECTED).sum())
    return Finding(len(rows), held, text, "networks")


def _draws(rows: "DataFrame") -> str:
    """Return the average number of draws of the accepted networks, and how many were not."""
    rejected = rows["status"] == REJECTED
    accepted = rows[DRAWN][~rejected]
    if accepted.empty:
        return f"none accepted in {short(rows[DRAWN].mean())} draws"
    share = f" ({int(rejected.sum())} of {len(rows)} rejected)" if rejected.any() else ""
    return f"{short(accepted.mean())}{share}"
