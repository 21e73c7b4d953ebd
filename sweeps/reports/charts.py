"""The door to Plotly: a report's interactive charts, and the script that draws them."""

import base64
import functools
import gzip
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from sweeps.metrics import SLACKS
from sweeps.planning.labels import Labels
from sweeps.reports import chart_data
from sweeps.reports.chart_data import METRICS, Curves, Table
from sweeps.reports.figures import Study
from sweeps.reports.figures.palette import COLOURS

if TYPE_CHECKING:
    from sweeps.reports.frames import Series

RATIO, MEASURED = "rate/measured_over_linearized", "rate/measured"
PREDICTED = ("rate/linearized", "rate/population", "rate/bound")
RATIOS = (RATIO, "rate/measured_over_bound", "theory/lambda_0_over_m", "theory/gram_error")
GREY = "#767676"
# Markers of the series of points; open ones, since points may cover each other.
SYMBOLS = ("circle-open", "square", "diamond-open", "triangle-up", "x-open", "star")
# Colour scale for more series than COLOURS, up to where it is too bright on white.
SCALE, BRIGHTEST = "Viridis", 0.85
# Names longer than this move the legend below its chart.
LONG = 32
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
    if not study.lines:
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
    return packed((resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes())


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
    colours = dict(zip(groups, _colours(len(groups)), strict=True))
    losses, ratios, named = [], [], set[str]()
    for each in curves:
        curve = functools.partial(_curve, each, colours[each.group])
        first = each.group not in named  # one entry in the legend for each group
        named.add(each.group)
        losses += [
            curve(each.loss, "measured", "solid", in_legend=first),
            curve(each.linearized, "linearised", "dash"),
            curve(each.bound, "bound", "dot"),
        ]
        ratios.append(curve(each.ratio, "lambda ratio", "solid", in_legend=first))
    caption = _share(len(curves), len(study.lines))
    return [
        Chart(
            "loss",
            "Loss against the GD step",
            f"{caption}Solid: measured. Dashes: the linearised prediction. Dots: the theorem's "
            "bound, guaranteed only where conditions (7) to (10) hold.",
            _figure(losses, groups, "GD step t", "loss", "linear", "log"),
            kinds=True,
        ),
        Chart(
            "lambda",
            "lambda_t / lambda_0 against the GD step",
            f"{caption}The theorem's proof needs it to stay above 1/2 (dashes).",
            _figure(ratios, groups, "GD step t", "lambda_t / lambda_0", level=0.5),
        ),
    ]


def _curve(
    curves: Curves,
    colour: str,
    values: "Series[float]",
    kind: str,
    dash: str,
    *,
    in_legend: bool = False,
) -> go.Scatter:
    """One curve of a trial."""
    trial, digest = curves.outcome.planned.name, curves.outcome.planned.short_hash
    return go.Scatter(
        x=values.index.tolist(),
        y=[chart_data.rounded(v) for v in values],
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2 if dash == "solid" else 1.2},
        name=_text(curves.group),
        legendgroup=_text(curves.group),
        showlegend=in_legend,
        meta={"kind": kind, "trial": trial, "hash": digest},
        hovertemplate=f"<b>{_text(trial)}</b><br>{digest}<br>{kind}: %{{y:.4g}}"
        "<br>%{xaxis.title.text}: %{x}<extra></extra>",
    )


def _point_charts(study: Study, table: Table) -> list[Chart]:
    """Charts with one point for each trial."""
    labels = Labels(table.keys)
    keys = [(key, "width m" if key == "model.width" else labels.key(key)) for key in table.keys]
    caption = _share(len(table.outcomes), len(study.lines))
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
                y=[(MEASURED, METRICS[MEASURED])],
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
                y=ratios + _choices(table, [m for m in METRICS if m not in RATIOS]),
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
    for i, ((name, rows), colour) in enumerate(zip(series, _colours(len(series)), strict=True)):
        traces += _series(i, name, colour, {"rows": rows}, median=not diagonal)
    if diagonal:
        line = {"color": GREY, "width": 1}
        text = "measured = predicted"
        traces.append(go.Scatter(mode="lines", line=line, name=text, meta={"diagonal": True}))
    return _figure(traces, [name for name, _ in series], "", "", x_scale, y_scale)


def _slack_figure(table: Table, slacks: Sequence[Choice]) -> dict[str, Any]:
    """The slacks of all trials, a series for each condition."""
    traces = []
    rows = list(range(len(table.outcomes)))
    for i, (metric, name) in enumerate(slacks):
        traces += _series(i, name, COLOURS[i], {"rows": rows, "y": metric})
    return _figure(traces, [], "", "slack", "log", "log", level=1)


def _series(
    i: int, name: str, colour: str, meta: dict[str, Any], *, median: bool = True
) -> list[go.Scatter]:
    """The i-th series: a point for each row, and a line through the medians."""
    hover = (
        "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>"
        "%{yaxis.title.text}: %{y:.4g}<br>%{xaxis.title.text}: %{x}<extra></extra>"
    )
    text = {"name": _text(name), "legendgroup": _text(name)}
    marker = {
        "color": colour,
        "symbol": SYMBOLS[i % len(SYMBOLS)],
        "size": 9,
        "opacity": 0.8,
        "line": {"width": 1.5, "color": colour},
    }
    traces = [go.Scatter(mode="markers", marker=marker, meta=meta, hovertemplate=hover, **text)]
    if median:
        line = {"color": colour, "width": 1.4}
        style = {"mode": "lines", "showlegend": False, "hoverinfo": "skip"}
        traces.append(go.Scatter(line=line, meta=meta | {"median": True}, **style, **text))
    return traces


def _figure(
    traces: Sequence[go.Scatter],
    names: Sequence[str],
    x: str,
    y: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
    level: float | None = None,
) -> dict[str, Any]:
    """A figure as JSON data, validated by Plotly.

    Args:
        traces: its curves and points.
        names: names in the legend; long ones move it below the chart.
        x: title of the x axis.
        y: title of the y axis.
        x_scale: "linear" or "log".
        y_scale: "linear" or "log".
        level: height of a dashed horizontal line, if any.
    """
    below = max(map(len, names), default=0) > LONG
    place = {"yanchor": "top", "y": -0.18, "xanchor": "left", "x": 0} if below else {}
    axis = {
        "gridcolor": "#e6e6e6",
        "linecolor": "#888",
        "ticks": "outside",
        "exponentformat": "power",
        "minexponent": 4,
        "automargin": True,
    }
    dashes = {"color": GREY, "dash": "dash", "width": 1}
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level}
    layout = go.Layout(
        template={},
        xaxis={"title": {"text": x}, "type": x_scale} | axis,
        yaxis={"title": {"text": y}, "type": y_scale} | axis,
        legend=place,
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
        plot_bgcolor="#fff",
        paper_bgcolor="#fff",
        height=460 + (min(18 * len(names), 200) if below else 0),
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
        hovermode="closest",
        showlegend=True,
        shapes=[] if level is None else [line | {"line": dashes}],
    )
    plain: dict[str, Any] = go.Figure(list(traces), layout).to_plotly_json()
    return plain


def _choices(table: Table, metrics: Iterable[str]) -> list[Choice]:
    """(metric, name) of the metrics that some trial has."""
    return [(metric, METRICS[metric]) for metric in metrics if metric in table.columns]


def _colours(count: int) -> list[str]:
    """Colours of the series: distinct if they are few, else ordered along a scale."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shares = [BRIGHTEST * i / (count - 1) for i in range(count)]
    mixed: list[str] = sample_colorscale(SCALE, shares)
    return mixed


def _text(name: str) -> str:
    """Escape a name, since Plotly interprets tags in texts."""
    return html.escape(name, quote=False)
