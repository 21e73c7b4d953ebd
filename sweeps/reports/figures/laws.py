"""Power laws in figures: fitted exponents for legends, and lines of a claimed exponent."""

from collections.abc import Sequence

import deq
from sweeps.reports.figures import style

Points = Sequence[tuple[float, float]]


def slope(points: Points, symbol: str = "m", groups: Sequence[str] | None = None) -> str:
    """Fitted power law of (x, y) points for the legend; empty where there is none.

    Args:
        points: the points.
        symbol: of x.
        groups: for each point, the group that has a scale of its own; one group by default.
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    law = deq.power_law(xs, ys, groups)
    if law is None:
        return ""
    return f": ${symbol}^{{{law.exponent:.2f} \\pm {law.stderr:.2f}}}$"


def reference(axes: style.Axes, points: Points, power: float, label: str) -> None:
    """Draw a power law through the geometric middle of points.

    Args:
        axes: the panel.
        points: (x, y) pairs; nothing is drawn if they have no law.
        power: exponent of the line.
        label: name in the legend.
    """
    law = deq.power_law(*zip(*points, strict=True)) if points else None
    if law is None:
        return
    ends = min(x for x, _ in points), max(x for x, _ in points)
    middle = (ends[0] * ends[1]) ** 0.5
    level = law.scale * middle**law.exponent
    line = [(x, level * (x / middle) ** power) for x in ends]
    style.plot(axes, line, color=style.GREY, label=label)
