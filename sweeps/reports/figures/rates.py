"""Rates against the main axis, and measured against predicted rates."""

from typing import Any

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, leaf, means, pairs

# (metric, name in the legend, line style, other options).
KINDS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("rate/measured", "measured", "-", {}),
    ("rate/linearized", "linearised", "--", {"mfc": "none"}),
    ("rate/bound", "bound if (7)-(10)", ":", {"ms": 3}),
)
PREDICTED = (
    ("rate/linearized", "linearised at $t=0$"),
    ("rate/population", "population limit"),
    ("rate/bound", "bound, guaranteed where (7)-(10) hold"),
)


def draw(study: Study) -> bytes:
    """Measured and linearised rate and bound of every trial against the main axis; PNG."""
    figure, (axes,) = style.panels(1, "Rates: bound, predicted, measured")
    key = study.axis
    xs: list[float] = []
    for i, (name, outcomes) in enumerate(study.others(key, each=len(KINDS))):
        for metric, text, dash, options in KINDS:
            points = pairs(outcomes, key, metric)
            xs += [x for x, _ in points]
            over_seeds = means(outcomes, key, metric)
            look = style.series(i) | options
            style.points_and_means(axes, points, over_seeds, f"{name}, {text}", dash, **look)
    axes.set(xlabel=_named(key), ylabel=style.RATE)
    style.log_y(axes)
    style.log2_ticks(axes, xs)
    style.legend(axes, outside=True)
    return style.png(figure)


def scatter(study: Study) -> bytes:
    """Measured rate against each predicted one, with the line of equality; PNG."""
    figure, (axes,) = style.panels(1, "Measured against predicted rates", height=4.8)
    shown: list[tuple[float, float]] = []
    for i, (metric, text) in enumerate(PREDICTED):
        points = [
            (x.summary[metric], x.summary["rate/measured"])
            for x in study.outcomes
            if metric in x.summary and "rate/measured" in x.summary
        ]
        shown += points
        style.plot(axes, points, ls="none", label=text, **style.series(i))
    every, measured = [rate for pair in shown for rate in pair], [rate for _, rate in shown]
    if every and min(every) > 0:
        ends = (min(every) / 1.5, max(every) * 1.5)
        axes.plot(ends, ends, color=style.GREY, lw=1, label="measured = predicted", zorder=0)
        # The bound may lie decades below: the y axis covers the measured rates only.
        axes.set(xscale="log", ylim=(min(measured) / 1.5, max(measured) * 1.5))
        style.log_y(axes)
    axes.set(xlabel=f"predicted {style.RATE}", ylabel=f"measured {style.RATE}")
    style.legend(axes)
    return style.png(figure)


def _named(key: str) -> str:
    """Label of an axis."""
    labels = {
        "model.width": "width $m$",
        "model.sigma_w2": r"$\sigma_w^2$",
        "model.sigma_a": r"$\sigma_a$",
        "train.eta": r"step size $\eta$, in its unit",
        "data.n": "samples $n$",
        "train.momentum": r"momentum $\beta$",
        "train.batch": "batch size",
    }
    return labels.get(key, leaf(key))
