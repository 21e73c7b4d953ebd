"""Checks of the claims about networks of growing depth, width and dimension."""

from typing import TYPE_CHECKING

import deq
from sweeps.reports.claims.finding import (
    COARSE,
    NOT_TESTED,
    WIDTH,
    Check,
    Finding,
    exponent_of,
    joint,
    no_exponent,
    undecided,
)
from sweeps.reports.claims.frame import (
    ANY_SIZE,
    ANY_WIDTH,
    DIMENSION,
    KERNEL,
    NETWORK,
    RATIO,
    REDRAWN,
    each_once,
)
from sweeps.reports.claims.width_law import power_of_width
from sweeps.reports.spread import between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

FACTOR, BOUND = "theory/depth_factor", "theory/depth_bound"
LIMIT = "_limit"  # ending of a metric's name: of infinite width
FACTORS = (FACTOR, BOUND, FACTOR + LIMIT, BOUND + LIMIT)
SQUARE, FOURTH = "theory/output_square", "theory/output_fourth"
EQUIVALENT, SHALLOW = "theory/equivalent_error", "theory/shallow_error"
GAP = "theory/kernel_gap"
METRICS = (
    *FACTORS,
    GAP,
    "theory/gram_error",
    "theory/depth_error",
    SQUARE,
    FOURTH,
    EQUIVALENT,
    SHALLOW,
)
# A factor may exceed its bound by this share: rounding of the last layers.
ROUNDING = 1e-3
# Two limits of K^(l) agree up to this relative difference.
SAME = 1e-6
# A fitted exponent may differ by this from -1/2: terms of higher order at small widths.
ROOM = 0.05
# A fitted exponent in d may exceed the claimed one by this: its terms of higher order fall slowly.
ROOM_DIMENSION = 0.1
# An excess kurtosis whose 99.73 % interval has a greater half-width than this decides nothing.
COARSE_KURTOSIS = 0.75


def geometric(frame: "DataFrame") -> Finding:
    """Check whether depth l nears the equilibrium no slower than is proven, in each network."""
    rows = each_once(frame[frame[BOUND] < 1], NETWORK, *FACTORS)
    if rows.empty:
        return NOT_TESTED
    share, share_limit = (rows[FACTOR + end] / rows[BOUND + end] for end in ("", LIMIT))
    held = int(((share <= 1 + ROUNDING) & (share_limit <= 1 + ROUNDING)).sum())
    parts = [
        f"factor of {name} {between(rows[FACTOR + end].min(), rows[FACTOR + end].max())}, at most "
        f"{short(part.max())} of the proven one"
        for name, end, part in (("G", "", share), ("K", LIMIT, share_limit))
    ]
    return Finding(len(rows), held, "; ".join(parts), "networks")


def unique(frame: "DataFrame") -> Finding:
    """Check whether K^(l) tends to one K from two starts, for each kernel."""
    gaps = each_once(frame, KERNEL, GAP)[GAP]
    if gaps.empty:
        return NOT_TESTED
    text = f"greatest relative difference of K from two starts: {short(gaps.max())}"
    return Finding(len(gaps), int((gaps <= SAME).sum()), text, "kernels")


def root_of_width(metric: str, room: float = 0.0) -> Check:
    """Return a check whether an error falls as m^(-1/2); see `power_of_width`.

    Networks of model.init=redraw do not count: they are chosen, not random.

    Args:
        metric: the error.
        room: the exponent may differ from -1/2 by this, however small its standard error is.
    """

    def check(frame: "DataFrame") -> Finding:
        rows = each_once(frame[(frame[metric] > 0) & ~frame[REDRAWN]], NETWORK, metric)
        if rows[WIDTH].nunique() < 2:
            return NOT_TESTED
        law = power_of_width(rows, metric)
        if law is None or law.margin > COARSE:
            return no_exponent(len(rows), law, "m", "networks")
        text = f"falls as {exponent_of(law, 'm')}"
        near = abs(law.exponent + 0.5) <= max(law.margin, room)
        return joint(len(rows), near, text, "networks")

    return check


def gaussian(frame: "DataFrame") -> Finding:
    """Check whether the outputs' excess kurtosis is 0 at the greatest width, to its error."""
    rows = each_once(frame[~frame[REDRAWN]], NETWORK, SQUARE, FOURTH)
    ends = sorted({rows[WIDTH].min(), rows[WIDTH].max()}) if len(rows) else []
    if len(ends) < 2:
        return NOT_TESTED
    first, last = (_kurtoses(rows[rows[WIDTH] == width]) for width in ends)
    accurate = [each for each in last if each is not None and each.margin <= COARSE_KURTOSIS]
    least = [each.value for each in first if each is not None]
    if len(accurate) < len(last) or not least:
        why = f"too few for an excess kurtosis to {COARSE_KURTOSIS} at width {ends[1]}"
        return undecided(len(rows), why, "networks")
    values = [each.value for each in accurate]
    text = (
        f"excess kurtosis {between(min(least), max(least))} at width {ends[0]}, "
        f"{between(min(values), max(values))} at width {ends[1]}, "
        f"with a standard error of {short(max(each.stderr for each in accurate))} or less"
    )
    near = all(abs(each.value) <= each.margin for each in accurate)
    return joint(len(rows), near, text, "networks")


def _kurtoses(rows: "DataFrame") -> "list[deq.Kurtosis | None]":
    """Excess kurtosis of the outputs of each group of networks that differ in their seed only."""
    return [
        deq.excess_kurtosis(part[SQUARE].tolist(), part[FOURTH].tolist())
        for _, part in rows.groupby(ANY_WIDTH)
    ]


def falls_with_dimension(metric: str, power: float) -> Check:
    """Return a check whether an error falls at least as d^(-power), at each ratio n / d.

    Args:
        metric: the error.
        power: the power.
    """

    def check(frame: "DataFrame") -> Finding:
        rows = each_once(frame[(frame[metric] > 0) & (frame[DIMENSION] > 0)], KERNEL, metric)
        parts = [part for _, part in rows.groupby([ANY_SIZE, RATIO])]
        laws = [
            (deq.power_law(part[DIMENSION].tolist(), part[metric].tolist()), part)
            for part in parts
            if part[DIMENSION].nunique() > 2
        ]
        accurate = [(law, part) for law, part in laws if law is not None and law.margin <= COARSE]
        if not accurate:
            fitted = sum(len(part) for _, part in laws)
            return no_exponent(fitted, laws[0][0], "d", "kernels") if laws else NOT_TESTED
        exponents = [law.exponent for law, _ in accurate]
        errors = [law.stderr for law, _ in accurate]
        text = (
            f"falls as d^({between(min(exponents), max(exponents))}), standard errors of at most "
            f"{short(max(errors))}"
        )
        held = all(law.exponent + power <= max(law.margin, ROOM_DIMENSION) for law, _ in accurate)
        return joint(sum(len(part) for _, part in accurate), held, text, "kernels")

    return check
