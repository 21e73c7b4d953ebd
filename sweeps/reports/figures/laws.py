"""Power laws in figures: fitted exponents for legends, and lines of a claimed exponent."""

import math
import statistics
from collections.abc import Sequence

import deq
from sweeps.reports.figures import style

Points = Sequence[tuple[float, float]]


def relative(networks: Sequence[Points]) -> list[tuple[float, float]]:
    """(x, y) points of all networks, each x and y divided by its geometric mean over a network."""
    found = []
    for points in networks:
        logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
        if logs:
            xs, ys = zip(*logs, strict=True)
            centre = statistics.fmean(xs), statistics.fmean(ys)
            found += [(math.exp(x - centre[0]), math.exp(y - centre[1])) for x, y in logs]
    return found


def slope(points: Points, symbol: str = "m") -> str:
    """Fitted power law of (x, y) points for the legend; empty where there is none."""
    law = deq.power_law(*zip(*points, strict=True)) if points else None
    if law is None:
        return ""
    return f": ${symbol}^{{{law.exponent:.2f} \\pm {law.stderr:.2f}}}$"


def reference(axes: style.Axes, points: Points, power: float, label: str) -> None:
    """Draw a line of this power through the geometric middle of (x, y) points."""
    law = deq.power_law(*zip(*points, strict=True)) if points else None
    if law is None:
        return
    ends = min(x for x, _ in points), max(x for x, _ in points)
    middle = (ends[0] * ends[1]) ** 0.5
    level = law.scale * middle**law.exponent
    line = [(x, level * (x / middle) ** power) for x in ends]
    style.plot(axes, line, color=style.GREY, label=label)
