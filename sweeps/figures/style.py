"""The door to matplotlib: one look for all figures.

Okabe and Ito's colours, which the colour-blind tell apart; markers and dashes tell the
series apart in grey.
"""

import atexit
import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

if "MPLCONFIGDIR" not in os.environ:  # before matplotlib is imported: it writes nothing to HOME
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="sweeps-matplotlib-")
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from sweeps.figures.palette import COLOURS

__all__ = [
    "GREY",
    "MOST_NATS",
    "RATE",
    "Axes",
    "around",
    "colour",
    "exponential",
    "legend",
    "log2_ticks",
    "log_y",
    "numbers",
    "panels",
    "png",
    "points_and_means",
    "series",
    "settle",
    "settled_png",
]

mpl.use("Agg")

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
GREY = "0.45"
# Curves that leave exp(+-this) are cut off: matplotlib fails on an axis of 600 decades.
MOST_NATS = 250.0

RATE = "rate, nats per GD step"


def panels(count: int, title: str = "", *, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side."""
    figure = Figure(figsize=(max(7.0, 5.2 * count), height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # one canvas for good: its letters are drawn once
    axes = figure.subplots(1, count, squeeze=False)[0].tolist()
    for each in axes:
        each.grid(alpha=0.3)
    if title:
        figure.suptitle(title)
    return figure, axes


def series(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th series; no two of the first 63 agree in both."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def colour(i: int) -> str:
    """Colour of the i-th series."""
    return COLOURS[i % len(COLOURS)]


def points_and_means(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    means: Sequence[tuple[float, float]],
    text: str,
    dash: str,
    **look: Any,
) -> None:
    """Every point, and a line through the means; nothing when there is no point.

    Several means at one x are means of different things: they are joined by no line.
    """
    if not points:
        return
    several = len({x for x, _ in means}) < len(means)
    line = {"ls": "none" if several else dash}
    axes.plot(*zip(*points, strict=True), **look | {"ls": "none", "alpha": 0.55, "ms": 4})
    axes.plot(*(zip(*means, strict=True) if means else ([], [])), label=text, lw=1.4, **look | line)


def png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same numbers."""
    for axes in figure.axes:
        if not axes.has_data():
            axes.text(0.5, 0.5, "no trial has these numbers", transform=axes.transAxes, ha="center")
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    figure.set_layout_engine("none")  # or it is laid out and drawn once more before it is saved
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()


def settle(figure: Figure) -> None:
    """Lay the figure out for good, for what it holds now."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:  # or each drawing looks where the numbers end
        across, down = axes.yaxis.label.get_position()[0], axes.xaxis.label.get_position()[1]
        left, below = axes.transAxes.inverted().transform((across, down))
        axes.xaxis.set_label_coords(0.5, below)
        axes.yaxis.set_label_coords(left, 0.5)


def settled_png(figure: Figure) -> bytes:
    """The same as `png` of a figure that is laid out: it is drawn once, not twice."""
    sink = io.BytesIO()
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.print_png(  # type: ignore[no-untyped-call]
        sink, metadata={"Software": None}, pil_kwargs={"compress_level": 3}
    )
    return sink.getvalue()


def legend(axes: Axes, *, outside: bool = False) -> None:
    """A legend, beside the panel when it is long."""
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        return
    if outside or len(handles) > 8:
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    else:
        axes.legend(fontsize="small")


def log_y(axes: Axes) -> None:
    """A logarithmic y axis, with numbers between the decades where there are few of them."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 0.5)))


def log2_ticks(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis whose ticks are the values themselves."""
    if not values or min(values) <= 0:
        return
    axes.set_xscale("log", base=2)
    shown = sorted(set(values))
    if len(shown) <= 8:
        axes.set_xticks(shown, [f"{v:g}" for v in shown])
        axes.minorticks_off()


def exponential(logs: Sequence[float | None]) -> list[float]:
    """Values of their logarithms; NaN where there is none, or no axis would hold it."""
    return [math.nan if v is None or not abs(v) < MOST_NATS else math.exp(v) for v in logs]


def around(axes: Axes, losses: Iterable[float]) -> None:
    """A logarithmic y axis about the losses measured, whatever was predicted."""
    seen = [v for v in losses if 0 < v < math.exp(MOST_NATS)]
    if seen:
        axes.set_ylim(min(seen) / 10, max(seen) * 10)


def numbers(values: Sequence[float | None]) -> list[float]:
    """NaN where there is no value, or one that no axis would hold."""
    most = math.exp(MOST_NATS)
    return [math.nan if v is None or abs(v) > most else v for v in values]
