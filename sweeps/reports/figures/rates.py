"""Rates against what varies most, and measured against predicted."""

from typing import Any

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, leaf, means, pairs

# Metric, what the legend calls it, its line, its look.
KINDS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("rate/measured", "measured", "-", {}),
    ("rate/linearized", "linearised", "--", {"mfc": "none"}),
    ("rate/bound", "bound", ":", {"ms": 3}),
)
PREDICTED = (
    ("rate/linearized", "linearised at $t=0$"),
    ("rate/population", "population limit"),
    ("rate/bound", "theorem's bound"),
)


def draw(study: Study) -> bytes:
    """Measured, linearised and bound's rate of every trial, a series for each other cell."""
    figure, (axes,) = style.panels(1, "Rates: guaranteed, predicted, measured")
    key = study.axis
    seen: list[float] = []
    for i, (name, lines) in enumerate(study.others(key)):
        for metric, text, dash, look in KINDS:
            found = pairs(lines, key, metric)
            seen += [x for x, _ in found]
            marks = style.series(i) | look
            over_seeds = means(lines, key, metric)
            style.points_and_means(axes, found, over_seeds, f"{name}, {text}", dash, **marks)
    axes.set(xlabel=_named(key), ylabel=style.RATE)
    style.log_y(axes)
    style.log2_ticks(axes, seen)
    style.legend(axes, outside=True)
    return style.png(figure)


def scatter(study: Study) -> bytes:
    """Measured rate against each predicted one, with the line where they are equal."""
    figure, (axes,) = style.panels(1, "Measured against predicted rates", height=4.8)
    shown: list[tuple[float, float]] = []
    for i, (metric, text) in enumerate(PREDICTED):
        found = [
            (line.summary[metric], line.summary["rate/measured"])
            for line in study.lines
            if metric in line.summary and "rate/measured" in line.summary
        ]
        if found:
            shown += found
            axes.plot(*zip(*found, strict=True), ls="none", label=text, **style.series(i))
    every, measured = [rate for pair in shown for rate in pair], [rate for _, rate in shown]
    if every and min(every) > 0:
        ends = (min(every) / 1.5, max(every) * 1.5)
        axes.plot(ends, ends, color=style.GREY, lw=1, label="measured = predicted", zorder=0)
        # The bound may lie decades below: that shall not press the measured rates into one.
        axes.set(xscale="log", ylim=(min(measured) / 1.5, max(measured) * 1.5))
        style.log_y(axes)
    axes.set(xlabel=f"predicted {style.RATE}", ylabel=f"measured {style.RATE}")
    style.legend(axes)
    return style.png(figure)


def _named(key: str) -> str:
    """An axis' label."""
    known = {
        "model.width": "width $m$",
        "model.sigma_w2": r"$\sigma_w^2$",
        "model.sigma_a": r"$\sigma_a$",
        "train.eta": r"step size $\eta$, in its unit",
        "data.n": "samples $n$",
    }
    return known.get(key, leaf(key))
