"""Runs to the floor of the loss: curves over all decades of time, rates and kernels."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, leaf, value
from sweeps.reports.frames import measured
from sweeps.storage.record import Columns
from sweeps.storage.step_metrics import is_kept

if TYPE_CHECKING:
    from sweeps.reports.frames import Series

# (column of log Phi, line style, name in the legend).
PREDICTED = (
    ("log_loss_linearized", "--", "linearised at t = 0"),
    ("log_loss_population", "-.", "infinite width"),
    ("log_loss_bound", ":", "theorem's bound"),
)
# Line widths of the values of the main axis, the least first.
WIDTHS = (0.7, 1.3, 2.2)
STEP = "GD step $t$"


def draw(study: Study) -> bytes:
    """Loss over time with predictions, local over asymptotic rate, and kernel drift; PNG."""
    figure, (losses, rates, kernels) = style.panels(3, height=4.6)
    key, shown = study.axis, []
    for i, (name, outcomes) in enumerate(study.others(key)):
        look = {"color": style.colour(i)}
        last: list[TrialOutcome] = []
        for outcome, size in _by_axis(outcomes, key):
            columns = study.trajectory(outcome.planned.config_hash)
            if columns is None:
                continue
            last = [outcome]
            _line(rates, rate_ratios(outcome, columns), **look, lw=size)
            drift = [(t, v) for t, v in _points(columns, "kernel_drift") if v > 0]
            _line(kernels, drift, **look, lw=size)
        for outcome in last:
            text = f"{name}, {leaf(key)} {value(outcome, key)}"
            columns = study.trajectory(outcome.planned.config_hash)
            shown += _losses(losses, columns, look | {"label": text})
    _finish(losses, rates, kernels, shown, leaf(key))
    return style.png(figure)


def rate_ratios(outcome: TrialOutcome, columns: Columns) -> list[tuple[float, float]]:
    """(GD step, local rate of the loss / -2 log(1 - eta lambda_min(H(t)))).

    The local rate is between two steps at which H was measured.
    """
    eta, loss = outcome.summary.get("train/eta", math.nan), measured(columns, "loss")
    points = []
    for (s, h), (t, _) in pairwise(_points(columns, "lambda_min_tangent")):
        if min(loss.get(s, 0), loss.get(t, 0)) > 0 and 0 < eta * h < 1:
            rate = math.log(loss[s] / loss[t]) / (t - s)
            points.append((math.sqrt(s * t), rate / (-2 * math.log1p(-eta * h))))
    return points


def _by_axis(outcomes: Sequence[TrialOutcome], key: str) -> Iterator[tuple[TrialOutcome, float]]:
    """Trials in the order of the axis, with the width of their line."""
    values = sorted({value(x, key) for x in outcomes})
    for x in sorted(outcomes, key=lambda x: (value(x, key), -value(x, "seed"))):
        yield x, WIDTHS[min(values.index(value(x, key)), len(WIDTHS) - 1)]


def _losses(axes: style.Axes, columns: Columns | None, look: dict[str, Any]) -> list[float]:
    """Draw the loss relative to its first value with its predictions; return the loss."""
    if columns is None:
        return []
    first = float(columns["loss"][0] or 1.0)
    relative = [(t, v / first) for t, v in _points(columns, "loss") if v > 0]
    _line(axes, relative, **look, lw=5, alpha=0.4)
    look = {"color": look["color"]}
    for column, dash, _ in PREDICTED:
        logs = [(t, v - math.log(first)) for t, v in _points(columns, column)]
        curve = style.exponential([v for _, v in logs])
        _line(axes, list(zip([t for t, _ in logs], curve, strict=True)), **look, ls=dash, lw=1.4)
    return [v for _, v in relative]


def _points(columns: Columns, name: str) -> list[tuple[float, float]]:
    """(GD step, value) after step 0, thinned evenly in log t, the last one included."""
    series: Series[float] = measured(columns, name)
    pairs = [(float(t), float(v)) for t, v in zip(series.index, series, strict=True) if t > 0]
    last = len(pairs) - 1
    return [pair for i, pair in enumerate(pairs) if is_kept(i) or i == last]


def _line(axes: style.Axes, points: list[tuple[float, float]], **look: Any) -> None:
    kept = [(t, v) for t, v in points if abs(v) < math.exp(style.MAX_NATS)]
    style.plot(axes, kept, **look)


def _finish(
    losses: style.Axes, rates: style.Axes, kernels: style.Axes, shown: list[float], key: str
) -> None:
    """Scales, limits, labels and legends."""
    for axes in (losses, rates, kernels):
        axes.set(xlabel=STEP)
        if axes.has_data():  # matplotlib refuses a logarithmic axis without a positive value
            axes.set(xscale="log", yscale="linear" if axes is rates else "log")
    losses.set(ylabel=r"loss $\Phi(t) / \Phi(0)$")
    losses.set_title(f"Loss at the largest {key}", fontsize="medium")
    style.around(losses, shown)
    if losses.has_data():
        for _, dash, text in PREDICTED:
            losses.plot([], [], dash, color=style.GREY, label=text)
    if rates.has_data():
        rates.axhline(1, color=style.GREY, lw=1)
    rates.set(ylabel="local rate / asymptotic rate", ylim=(0.8, 3))
    title = r"Local rate over $-2\,\log(1 - \eta\,\lambda_{min}(H(t)))$"
    rates.set_title(f"{title}; thicker: larger {key}", fontsize="medium")
    kernels.set(ylabel=r"$\|H(t) - H(0)\|_F\ /\ \|H(0)\|_F$")
    kernels.set_title("Drift of the tangent kernel", fontsize="medium")
    style.legend(losses)
