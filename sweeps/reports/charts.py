"""The door to Plotly: a report's interactive charts, and the script that draws them."""

import base64
import functools
import gzip
import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from sweeps.figures import Study
from sweeps.figures.palette import COLOURS
from sweeps.labels import Labels
from sweeps.reports import chart_data
from sweeps.reports.chart_data import METRICS, Curves, Table

RATIO, MEASURED = "rate/measured_over_linearized", "rate/measured"
PREDICTED = ("rate/linearized", "rate/population", "rate/bound")
RATIOS = (RATIO, "rate/measured_over_bound", "theory/lambda_0_over_m", "theory/gram_error")
SLACKS = ("theory/slack_7", "theory/slack_8", "theory/slack_9", "theory/slack_10")
GREY = "#767676"
# Of points, series by series; points of one series may lie exactly over those of another.
SYMBOLS = ("circle-open", "square", "diamond-open", "triangle-up", "x-open", "star")
# Of more series than there are colours: this scale, up to where it is too bright on white.
SCALE, BRIGHTEST = "Viridis", 0.85
# A legend of longer names stands below its chart.
LONG = 32
Choice = tuple[str, str]


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        id: of its place in the page.
        title, caption: what it shows.
        figure: for Plotly. Traces with rows in `meta` get x and y from the page's table.
        x, y: what can be put on the axes, (column, name); the first is shown at first.
        kinds: whether measured, linearised and bound can be hidden apart.
    """

    id: str
    title: str
    caption: str
    figure: dict[str, Any]
    x: list[Choice] = field(default_factory=list)
    y: list[Choice] = field(default_factory=list)
    kinds: bool = False


def charts(study: Study) -> tuple[list[Chart], str]:
    """The charts of a study's finished trials, and the data that the page's script reads.

    The data are JSON, packed: the table of the trials, and the figures.
    """
    if not study.lines:
        return [], packed(b"{}")
    table, curves = chart_data.table(study), chart_data.curves(study)
    found = [*_curve_charts(study, curves), *_point_charts(study, table)]
    columns = {
        "trial": [line.planned.name for line in table.lines],
        "hash": table.hashes,
        "keys": table.keys,
        "columns": table.columns,
    }
    data = {"table": columns, "charts": [asdict(chart) for chart in found]}
    return found, packed(json.dumps(data, allow_nan=False, separators=(",", ":")).encode())


@functools.cache
def library() -> str:
    """Plotly's own script, packed: 4.8 MB become 2."""
    return packed((resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes())


def packed(content: bytes) -> str:
    """Compressed by gzip, in base64: the same text for the same content.

    Level 9 would take twice the time to save a hundredth of the length.
    """
    return base64.b64encode(gzip.compress(content, compresslevel=5, mtime=0)).decode()


def _curve_charts(study: Study, curves: Sequence[Curves]) -> list[Chart]:
    """Loss, and lambda_t / lambda_0, against the GD step."""
    if not curves:
        return []
    groups = list(dict.fromkeys(each.group for each in curves))
    colours = dict(zip(groups, _colours(len(groups)), strict=True))
    many = len(study.lines)
    which = f"{len(curves)} of {many} trials, evenly chosen. " if len(curves) < many else ""
    losses, ratios = [], []
    shown: set[str] = set()
    for each in curves:
        first = each.group not in shown
        shown.add(each.group)
        look = _look(each.group, colours[each.group])
        losses += [
            _curve(each, each.loss, "measured", "solid", look | {"showlegend": first}),
            _curve(each, each.linearized, "linearised", "dash", look | {"showlegend": False}),
            _curve(each, each.bound, "bound", "dot", look | {"showlegend": False}),
        ]
        ratios.append(
            _curve(each, each.ratio, "lambda ratio", "solid", look | {"showlegend": first})
        )
    level = {"y0": 0.5, "y1": 0.5, "line": {"color": GREY, "dash": "dash", "width": 1}}
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1} | level
    return [
        Chart(
            "loss",
            "Loss against the GD step",
            f"{which}Solid: measured. Dashes: the linearised prediction. Dots: the theorem's "
            "bound, guaranteed only where conditions (7) to (10) hold.",
            _figure(losses, groups, "GD step t", "loss", "linear", "log"),
            kinds=True,
        ),
        Chart(
            "lambda",
            "lambda_t / lambda_0 against the GD step",
            f"{which}The theorem's proof needs it to stay above 1/2 (dashes).",
            _figure(ratios, groups, "GD step t", "lambda_t / lambda_0", shapes=[line]),
        ),
    ]


def _curve(
    curves: Curves, points: chart_data.Points, kind: str, dash: str, look: dict[str, Any]
) -> go.Scatter:
    planned = curves.line.planned
    trial, digest = _text(planned.name), planned.short_hash
    steps, values = points
    return go.Scatter(
        x=steps,
        y=[chart_data.rounded(v) for v in values],
        mode="lines",
        line={"color": look["color"], "dash": dash, "width": 2 if dash == "solid" else 1.2},
        name=look["name"],
        legendgroup=look["legendgroup"],
        showlegend=look["showlegend"],
        meta={"kind": kind, "trial": planned.name, "hash": digest},
        hovertemplate=f"<b>{trial}</b><br>{digest}<br>{kind}: %{{y:.4g}} at step %{{x}}"
        "<extra></extra>",
    )


def _point_charts(study: Study, table: Table) -> list[Chart]:
    """Charts with one point for each trial."""
    labels = Labels(table.keys)
    keys = [(key, "width m" if key == "model.width" else _key(labels, key)) for key in table.keys]
    few, many = len(table.lines), len(study.lines)
    which = f"{few} of {many} trials, evenly chosen. " if few < many else ""
    found = []
    predicted = _choices(table, PREDICTED)
    if predicted and MEASURED in table.columns:
        found.append(
            Chart(
                "predicted",
                "Measured rate against the predicted one",
                f"{which}A perfect prediction lies on the grey line; above it training is faster.",
                _points(study, table, "log", "log", diagonal=True),
                x=predicted,
                y=[(MEASURED, METRICS[MEASURED])],
            )
        )
    ratios = _choices(table, RATIOS)
    if ratios:
        found.append(
            Chart(
                "ratio",
                "What changes with the configuration",
                f"{which}A point for each trial, a line through the medians at each value.",
                _points(study, table, "log", "linear"),
                x=keys + _choices(table, RATIOS[2:]),
                y=ratios + _choices(table, [m for m in METRICS if m not in RATIOS]),
            )
        )
    slacks = _choices(table, SLACKS)
    if slacks:
        found.append(
            Chart(
                "slack",
                "Slack of the theorem's conditions",
                f"{which}A condition holds where its slack is at least 1 (dashes).",
                _slack_figure(table, slacks),
                x=keys,
            )
        )
    return found


def _points(
    study: Study, table: Table, x_scale: str, y_scale: str, *, diagonal: bool = False
) -> dict[str, Any]:
    """A series for all that varies but the main axis and the seed, x and y to be chosen."""
    rows = {line.planned.config_hash: row for row, line in enumerate(table.lines)}
    hashes = [
        (name, [line.planned.config_hash for line in lines])
        for name, lines in study.others(study.axis)
    ]
    series = [(name, [rows[h] for h in found if h in rows]) for name, found in hashes]
    series = [(name, found) for name, found in series if found]
    traces = []
    for i, ((name, found), colour) in enumerate(zip(series, _colours(len(series)), strict=True)):
        traces += _series(i, name, colour, {"rows": found}, median=not diagonal)
    if diagonal:
        line = {"color": GREY, "width": 1}
        text = "measured = predicted"
        traces.append(go.Scatter(mode="lines", line=line, name=text, meta={"diagonal": True}))
    return _figure(traces, [name for name, _ in series], "", "", x_scale, y_scale)


def _slack_figure(table: Table, slacks: Sequence[Choice]) -> dict[str, Any]:
    traces = []
    rows = list(range(len(table.lines)))
    for i, (metric, name) in enumerate(slacks):
        traces += _series(i, name, COLOURS[i], {"rows": rows, "y": metric})
    dashes = {"color": GREY, "dash": "dash", "width": 1}
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "line": dashes}
    return _figure(traces, [], "", "slack", "log", "log", shapes=[line])


def _series(
    i: int, name: str, colour: str, meta: dict[str, Any], *, median: bool = True
) -> list[go.Scatter]:
    """The i-th series: a point for each of these rows, and a line through their medians."""
    look = _look(name, colour)
    hover = "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{y:.4g} at %{x}<extra></extra>"
    same = {"name": look["name"], "legendgroup": look["legendgroup"]}
    symbol = SYMBOLS[i % len(SYMBOLS)]
    marker = {
        "color": colour,
        "symbol": symbol,
        "size": 9,
        "opacity": 0.8,
        "line": {"width": 1.5, "color": colour},
    }
    found = [go.Scatter(mode="markers", marker=marker, meta=meta, hovertemplate=hover, **same)]
    if median:
        line = {"color": colour, "width": 1.4}
        over = {"mode": "lines", "showlegend": False, "hoverinfo": "skip"}
        found.append(go.Scatter(line=line, meta=meta | {"median": True}, **over, **same))
    return found


def _figure(
    traces: Sequence[go.Scatter],
    names: Sequence[str],
    x: str,
    y: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
    **more: Any,
) -> dict[str, Any]:
    """A figure as plain data, checked by Plotly."""
    below = max(map(len, names), default=0) > LONG
    place = {"yanchor": "top", "y": -0.18, "xanchor": "left", "x": 0} if below else {}
    axis = {
        "gridcolor": "#e6e6e6",
        "linecolor": "#888",
        "ticks": "outside",
        "exponentformat": "power",
        "minexponent": 6,
    }
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
        **more,
    )
    plain: dict[str, Any] = go.Figure(list(traces), layout).to_plotly_json()
    return plain


def _choices(table: Table, metrics: Sequence[str]) -> list[Choice]:
    """The metrics that some trial has, with their names."""
    return [(metric, METRICS[metric]) for metric in metrics if metric in table.columns]


def _key(labels: Labels, key: str) -> str:
    """A config key's short name."""
    return labels({key: ""}).removesuffix("=") or key.rpartition(".")[2]


def _look(name: str, colour: str) -> dict[str, Any]:
    return {"name": _text(name), "legendgroup": _text(name), "color": colour}


def _colours(count: int) -> list[str]:
    """A colour for each series: told apart where they are few, in order where they are many."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shares = [BRIGHTEST * i / (count - 1) for i in range(count)]
    mixed: list[str] = sample_colorscale(SCALE, shares)
    return mixed


def _text(name: str) -> str:
    """A name for Plotly, which reads tags in its texts."""
    return html.escape(name, quote=False)
