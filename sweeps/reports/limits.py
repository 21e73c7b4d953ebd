"""Judges of the claims about networks of growing depth, width and dimension."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import deq
from sweeps.reports.claims_frame import (
    ANY_SIZE,
    ANY_WIDTH,
    DIMENSION,
    DRAW,
    KERNEL,
    NETWORK,
    RATIO,
    each_once,
)
from sweeps.reports.finding import COARSE, WIDTH, Finding, together
from sweeps.reports.spread import between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

FACTOR, BOUND = "theory/depth_factor", "theory/depth_bound"
LIMIT = "_limit"  # of the infinite width's
FACTORS = (FACTOR, BOUND, FACTOR + LIMIT, BOUND + LIMIT)
SQUARE, FOURTH = "theory/output_square", "theory/output_fourth"
EQUIVALENT, SHALLOW = "theory/equivalent_error", "theory/shallow_error"
GAP = "theory/kernel_gap"
METRICS = (*FACTORS, GAP, "theory/depth_error", SQUARE, FOURTH, EQUIVALENT, SHALLOW)
# A factor above its bound by a smaller share is rounding of the last layers.
ROUNDING = 1e-3
# Relative difference of two limits of K^(l) that is none.
SAME = 1e-6
# Difference of a fitted exponent from -1/2 that terms of higher order make at small widths.
ROOM = 0.05
# The same of a fitted exponent in d, whose terms of higher order fall more slowly.
ROOM_DIMENSION = 0.1
# Half-width of an excess kurtosis' 99.73 % interval above which it says nothing.
COARSE_KURTOSIS = 0.75


def geometric(frame: "DataFrame") -> Finding:
    """Judge whether depth l nears the equilibrium no slower than is proven, in each network."""
    rows = each_once(frame[frame[BOUND] < 1], NETWORK, *FACTORS)
    if rows.empty:
        return Finding(0, 0, "")
    share, share_limit = (rows[FACTOR + end] / rows[BOUND + end] for end in ("", LIMIT))
    held = int(((share <= 1 + ROUNDING) & (share_limit <= 1 + ROUNDING)).sum())
    parts = [
        f"factor of {name} {between(rows[FACTOR + end].min(), rows[FACTOR + end].max())}, at most "
        f"{short(part.max())} of the proven one"
        for name, end, part in (("G", "", share), ("K", LIMIT, share_limit))
    ]
    return Finding(len(rows), held, "; ".join(parts), "networks")


def unique(frame: "DataFrame") -> Finding:
    """Judge whether K^(l) tends to one K from two starts, for each kernel."""
    gaps = each_once(frame, KERNEL, GAP)[GAP]
    if gaps.empty:
        return Finding(0, 0, "")
    text = f"greatest relative difference of K from two starts: {short(gaps.max())}"
    return Finding(len(gaps), int((gaps <= SAME).sum()), text, "kernels")


def root_of_width(metric: str, room: float = 0.0) -> "Callable[[DataFrame], Finding]":
    """Judge whether an error falls as m^(-1/2).

    Networks that differ in width and seed only have one law; all laws have one exponent. The
    networks of one draw, such as those of several activations, have errors in common: their
    geometric mean is one point, and draws of the same laws share a scale.

    Args:
        metric: the error.
        room: difference of the exponent that is none, however small its standard error is.
    """

    def judge(frame: "DataFrame") -> Finding:
        rows = each_once(frame[frame[metric] > 0], NETWORK, metric)
        draws = rows.assign(log=rows[metric].map(math.log)).groupby(DRAW)
        means = draws["log"].mean().map(math.exp)
        laws = draws[ANY_WIDTH].agg(lambda names: "; ".join(sorted(names)))
        law = deq.power_law(draws[WIDTH].first().tolist(), means.tolist(), laws.tolist())
        if law is None or law.margin > COARSE:
            return Finding(0, 0, "")
        text = f"falls as m^({short(law.exponent)} +- {short(law.stderr)})"
        near = abs(law.exponent + 0.5) <= max(law.margin, room)
        return together(len(rows), near, text, "networks")

    return judge


def gaussian(frame: "DataFrame") -> Finding:
    """Judge whether the outputs' excess kurtosis is 0 at the greatest width, to its error."""
    rows = each_once(frame, NETWORK, SQUARE, FOURTH)
    ends = sorted({rows[WIDTH].min(), rows[WIDTH].max()}) if len(rows) else []
    if len(ends) < 2:
        return Finding(0, 0, "")
    first, last = (_kurtoses(rows[rows[WIDTH] == width]) for width in ends)
    accurate = [each for each in last if each is not None and each.margin <= COARSE_KURTOSIS]
    least = [each.value for each in first if each is not None]
    if len(accurate) < len(last) or not least:
        return Finding(0, 0, "")
    values = [each.value for each in accurate]
    text = (
        f"excess kurtosis {between(min(least), max(least))} at width {ends[0]}, "
        f"{between(min(values), max(values))} at width {ends[1]}, "
        f"with a standard error of {short(max(each.stderr for each in accurate))} or less"
    )
    near = all(abs(each.value) <= each.margin for each in accurate)
    return together(len(rows), near, text, "networks")


def _kurtoses(rows: "DataFrame") -> "list[deq.Kurtosis | None]":
    """Excess kurtosis of the outputs of each group of networks that differ in their seed only."""
    return [
        deq.excess_kurtosis(part[SQUARE].tolist(), part[FOURTH].tolist())
        for _, part in rows.groupby(ANY_WIDTH)
    ]


def falls_with_dimension(metric: str, power: float) -> "Callable[[DataFrame], Finding]":
    """Judge whether an error falls at least as d^(-power), for kernels of one ratio n / d each.

    Args:
        metric: the error.
        power: the power.
    """

    def judge(frame: "DataFrame") -> Finding:
        rows = each_once(frame[(frame[metric] > 0) & (frame[DIMENSION] > 0)], KERNEL, metric)
        parts = [part for _, part in rows.groupby([ANY_SIZE, RATIO])]
        laws = [
            (deq.power_law(part[DIMENSION].tolist(), part[metric].tolist()), part)
            for part in parts
            if part[DIMENSION].nunique() > 2
        ]
        accurate = [(law, part) for law, part in laws if law is not None and law.margin <= COARSE]
        if not accurate:
            return Finding(0, 0, "")
        exponents = [law.exponent for law, _ in accurate]
        errors = [law.stderr for law, _ in accurate]
        text = (
            f"falls as d^({between(min(exponents), max(exponents))}), standard errors of at most "
            f"{short(max(errors))}"
        )
        held = all(law.exponent + power <= max(law.margin, ROOM_DIMENSION) for law, _ in accurate)
        return together(sum(len(part) for _, part in accurate), held, text, "kernels")

    return judge
