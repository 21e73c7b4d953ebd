"""A report's interactive charts, and their data, packed for the page's script."""

import base64
import functools
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sweeps.metrics import SLACKS
from sweeps.metrics.shown import HEADINGS, ON_AXES
from sweeps.planning.labels import Labels
from sweeps.reports import chart_data, plotly_figures
from sweeps.reports.chart_data import Curves, Table
from sweeps.reports.figures import Study
from sweeps.reports.figures.palette import COLOURS

RATIO, MEASURED = "rate/measured_over_linearized", "rate/measured"
PREDICTED = ("rate/linearized", "rate/population", "rate/bound")
RATIOS = (RATIO, "rate/measured_over_bound", "theory/lambda_0_over_m", "theory/gram_error")
Choice = tuple[str, str]


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        id: name of its section in the page.
        title, caption: its texts.
        figure: data for Plotly. Traces with `rows` in `meta` get x and y from the page's table.
        x, y: (column, name) choices for the axes; the first is shown initially.
        kinds: True if linearised and bound curves can be hidden.
    """

    id: str
    title: str
    caption: str
    figure: dict[str, Any]
    x: list[Choice] = field(default_factory=list)
    y: list[Choice] = field(default_factory=list)
    kinds: bool = False


def charts(study: Study) -> tuple[list[Chart], str]:
    """The charts of a study's finished trials, and the packed JSON that the page's script reads.

    The JSON holds the table of the trials and the figures.
    """
    if not study.outcomes:
        return [], packed(b"{}")
    table, curves = chart_data.table(study), chart_data.curves(study)
    all_charts = [*_curve_charts(study, curves), *_point_charts(study, table)]
    columns = {
        "trial": [x.planned.name for x in table.outcomes],
        "hash": table.hashes,
        "keys": table.keys,
        "columns": table.columns,
    }
    data = {"table": columns, "charts": [asdict(chart) for chart in all_charts]}
    return all_charts, packed(json.dumps(data, allow_nan=False, separators=(",", ":")).encode())


@functools.cache
def library() -> str:
    """Plotly's script, packed from 4.8 MB to 2 MB."""
    return packed(plotly_figures.script())


def packed(content: bytes) -> str:
    """Compress by gzip and encode in base64, deterministically.

    Level 9 would take twice the time to save a hundredth of the length.
    """
    return base64.b64encode(gzip.compress(content, compresslevel=5, mtime=0)).decode()


def _curve_charts(study: Study, curves: Sequence[Curves]) -> list[Chart]:
    """Loss, and lambda_t / lambda_0, against the GD step."""
    if not curves:
        return []
    groups = list(dict.fromkeys(each.group for each in curves))
    colours = dict(zip(groups, plotly_figures.colours(len(groups)), strict=True))
    losses, ratios, named = [], [], set[str]()
    for each in curves:
        curve = functools.partial(plotly_figures.curve, each, colours[each.group])
        first = each.group not in named  # one entry in the legend for each group
        named.add(each.group)
        losses += [
            curve(each.loss, "measured", "solid", in_legend=first),
            curve(each.linearized, "linearised", "dash"),
            curve(each.bound, "bound", "dot"),
        ]
        ratios.append(curve(each.ratio, "lambda ratio", "solid", in_legend=first))
    caption = _share(len(curves), len(study.outcomes))
    return [
        Chart(
            "loss",
            "Loss against the GD step",
            f"{caption}Solid: measured. Dashes: the linearised prediction. Dots: the theorem's "
            "bound, guaranteed only where conditions (7) to (10) hold.",
            plotly_figures.figure(losses, groups, "GD step t", "loss", "linear", "log"),
            kinds=True,
        ),
        Chart(
            "lambda",
            "lambda_t / lambda_0 against the GD step",
            f"{caption}The theorem's proof needs it to stay above 1/2 (dashes).",
            plotly_figures.figure(ratios, groups, "GD step t", "lambda_t / lambda_0", level=0.5),
        ),
    ]


def _point_charts(study: Study, table: Table) -> list[Chart]:
    """Charts with one point for each trial."""
    labels = Labels(table.keys)
    keys = [(key, "width m" if key == "model.width" else labels.key(key)) for key in table.keys]
    caption = _share(len(table.outcomes), len(study.outcomes))
    predicted, ratios, slacks = (_choices(table, x) for x in (PREDICTED, RATIOS, SLACKS.values()))
    point_charts = []
    if predicted and MEASURED in table.columns:
        point_charts.append(
            Chart(
                "predicted",
                "Measured rate against the predicted one",
                f"{caption}A perfect prediction lies on the grey line; above it training is "
                "faster.",
                _points(study, table, "log", "log", diagonal=True),
                x=predicted,
                y=[(MEASURED, HEADINGS[MEASURED])],
            )
        )
    if ratios:
        point_charts.append(
            Chart(
                "ratio",
                "What changes with the configuration",
                f"{caption}A point for each trial, a line through the medians at each value.",
                _points(study, table, "log", "linear"),
                x=keys + _choices(table, RATIOS[2:]),
                y=ratios + _choices(table, [m for m in ON_AXES if m not in RATIOS]),
            )
        )
    if slacks:
        point_charts.append(
            Chart(
                "slack",
                "Slack of the theorem's conditions",
                f"{caption}A condition holds where its slack is at least 1 (dashes); (10) above 1.",
                _slack_figure(table, slacks),
                x=keys,
            )
        )
    return point_charts


def _share(shown: int, total: int) -> str:
    """Sentence on the number of trials shown; empty if all are."""
    return f"{shown} of {total} trials, evenly chosen. " if shown < total else ""


def _points(
    study: Study, table: Table, x_scale: str, y_scale: str, *, diagonal: bool = False
) -> dict[str, Any]:
    """A series for each value of the other axes; x and y are chosen in the page."""
    row_of = {x.planned.config_hash: row for row, x in enumerate(table.outcomes)}
    series = []
    for name, outcomes in study.others(study.axis):
        hashes = [x.planned.config_hash for x in outcomes]
        if rows := [row_of[digest] for digest in hashes if digest in row_of]:
            series.append((name, rows))
    traces = []
    colours = plotly_figures.colours(len(series))
    for i, (name, rows) in enumerate(series):
        traces += plotly_figures.series(i, name, colours[i], {"rows": rows}, median=not diagonal)
    if diagonal:
        traces.append(plotly_figures.diagonal())
    return plotly_figures.figure(traces, [name for name, _ in series], "", "", x_scale, y_scale)


def _slack_figure(table: Table, slacks: Sequence[Choice]) -> dict[str, Any]:
    """The slacks of all trials, a series for each condition."""
    traces = []
    rows = list(range(len(table.outcomes)))
    for i, (metric, name) in enumerate(slacks):
        traces += plotly_figures.series(i, name, COLOURS[i], {"rows": rows, "y": metric})
    return plotly_figures.figure(traces, [], "", "slack", "log", "log", level=1)


def _choices(table: Table, metrics: Iterable[str]) -> list[Choice]:
    """(metric, name) of the metrics that some trial has."""
    return [(metric, HEADINGS[metric]) for metric in metrics if metric in table.columns]
