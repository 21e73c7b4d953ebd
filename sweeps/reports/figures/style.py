"""The door to matplotlib: the common style of all figures.

The colours suit colour-blind readers; markers and dashes distinguish series in greyscale.
"""

import atexit
import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

if (
    "MPLCONFIGDIR" not in os.environ
):  # before the import of matplotlib, so that it writes nothing to HOME
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="sweeps-matplotlib-")
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from sweeps.reports.figures.palette import COLOURS

__all__ = [
    "GREY",
    "MAX_NATS",
    "RATE",
    "Axes",
    "around",
    "colour",
    "exponential",
    "fix_layout",
    "legend",
    "log2_ticks",
    "log_y",
    "numbers",
    "panels",
    "plot",
    "png",
    "points_and_means",
    "quick_png",
    "series",
]

mpl.use("Agg")

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
GREY = "0.45"
# Curves are cut off beyond exp(+-this), since matplotlib fails on an axis of 600 decades.
MAX_NATS = 250.0

RATE = "rate, nats per GD step"


def panels(count: int, title: str = "", *, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side, and its panels.

    Args:
        count: number of panels.
        title: title of the figure.
        height: in inches.
    """
    figure = Figure(figsize=(max(7.0, 5.2 * count), height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # one canvas, so that letters are rendered once
    axes = figure.subplots(1, count, squeeze=False)[0].tolist()
    for each in axes:
        each.grid(alpha=0.3)
    if title:
        figure.suptitle(title)
    return figure, axes


def series(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th series; the first 63 pairs are distinct."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def colour(i: int) -> str:
    """Colour of the i-th series."""
    return COLOURS[i % len(COLOURS)]


def plot(axes: Axes, points: Sequence[tuple[float, float]], **look: Any) -> None:
    """Plot (x, y) points; nothing, not even a name in the legend, if there are none."""
    if points:
        axes.plot(*zip(*points, strict=True), **look)


def points_and_means(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    means: Sequence[tuple[float, float]],
    text: str,
    dash: str,
    **look: Any,
) -> None:
    """Plot every point, and a line through the means; nothing if there are no points.

    If several means share an x they belong to different configs, and no line joins them.

    Args:
        axes: the panel.
        points: (x, y) of each trial.
        means: (x, mean of y over the seeds).
        text: name in the legend.
        dash: style of the line.
        look: matplotlib's options for both.
    """
    if not points:
        return
    several = len({x for x, _ in means}) < len(means)
    line = {"ls": "none" if several else dash}
    axes.plot(*zip(*points, strict=True), **look | {"ls": "none", "alpha": 0.55, "ms": 4})
    axes.plot(*(zip(*means, strict=True) if means else ([], [])), label=text, lw=1.4, **look | line)


def png(figure: Figure) -> bytes:
    """The figure as PNG; equal numbers give equal bytes."""
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


def fix_layout(figure: Figure) -> None:
    """Compute the layout for the present content and keep it."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:  # or every drawing would measure the tick labels
        across, down = axes.yaxis.label.get_position()[0], axes.xaxis.label.get_position()[1]
        left, below = axes.transAxes.inverted().transform((across, down))
        axes.xaxis.set_label_coords(0.5, below)
        axes.yaxis.set_label_coords(left, 0.5)


def quick_png(figure: Figure) -> bytes:
    """PNG of a figure whose layout is fixed: it is drawn once, where `png` draws twice."""
    sink = io.BytesIO()
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.print_png(  # type: ignore[no-untyped-call]
        sink, metadata={"Software": None}, pil_kwargs={"compress_level": 3}
    )
    return sink.getvalue()


def legend(axes: Axes, *, outside: bool = False) -> None:
    """Add a legend, beside the panel if it is long."""
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        return
    if outside or len(handles) > 8:
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    else:
        axes.legend(fontsize="small")


def log_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with labels between decades if the axis has few."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 0.5)))


def log2_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic with ticks at the values, if all are positive."""
    if not values or min(values) <= 0:
        return
    axes.set_xscale("log", base=2)
    shown = sorted(set(values))
    if len(shown) <= 8:
        axes.set_xticks(shown, [f"{v:g}" for v in shown])
        axes.minorticks_off()


def exponential(logs: Sequence[float | None]) -> list[float]:
    """Exponentials of logarithms; NaN for None and beyond exp(MAX_NATS)."""
    return [math.nan if v is None or not abs(v) < MAX_NATS else math.exp(v) for v in logs]


def around(axes: Axes, losses: Iterable[float]) -> None:
    """Limit the y axis to a decade around the measured losses, whatever was predicted."""
    finite = [v for v in losses if 0 < v < math.exp(MAX_NATS)]
    if finite:
        axes.set_ylim(min(finite) / 10, max(finite) * 10)


def numbers(values: Sequence[float | None]) -> list[float]:
    """The values, with NaN for None and beyond exp(MAX_NATS)."""
    most = math.exp(MAX_NATS)
    return [math.nan if v is None or abs(v) > most else v for v in values]
