"""The door to Plotly: figures of a report's charts as JSON data, and the script that draws them."""

import html
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from sweeps.reports import chart_data
from sweeps.reports.chart_data import Curves
from sweeps.reports.figures.palette import COLOURS

if TYPE_CHECKING:
    from sweeps.reports.frames import Series

GREY = "#767676"
# Markers of the series of points; open ones, since points may cover each other.
SYMBOLS = ("circle-open", "square", "diamond-open", "triangle-up", "x-open", "star")
# Colour scale for more series than COLOURS, up to where it is too bright on white.
SCALE, BRIGHTEST = "Viridis", 0.85
# Names longer than this move the legend below its chart.
LONG = 32


def script() -> bytes:
    """Return Plotly's script, 4.8 MB."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def curve(
    curves: Curves,
    colour: str,
    values: "Series[float]",
    kind: str,
    dash: str,
    *,
    in_legend: bool = False,
) -> go.Scatter:
    """Return one curve of a trial.

    Args:
        curves: the trial and its group, for the legend.
        colour: colour of the group.
        values: the curve, by GD step.
        kind: measured, linearised, bound or lambda ratio.
        dash: Plotly's name of the line's style.
        in_legend: whether the group gets its entry in the legend here.
    """
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


def series(
    i: int, name: str, colour: str, meta: dict[str, Any], *, median: bool = True
) -> list[go.Scatter]:
    """Return the i-th series: a point for each row, and a line through the medians.

    Args:
        i: chooses the marker.
        name: name in the legend.
        colour: its colour.
        meta: rows of the page's table, and the column to draw if it is not chosen in the page.
        median: whether to draw the line.
    """
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


def diagonal() -> go.Scatter:
    """Return the line on which measured and predicted values agree; the page computes its ends."""
    line = {"color": GREY, "width": 1}
    return go.Scatter(mode="lines", line=line, name="measured = predicted", meta={"diagonal": True})


def figure(
    traces: Sequence[go.Scatter],
    names: Sequence[str],
    x: str,
    y: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
    level: float | None = None,
) -> dict[str, Any]:
    """Return a figure as JSON data, validated by Plotly.

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


def colours(count: int) -> list[str]:
    """Return the colours of the series: distinct if they are few, else ordered along a scale."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    shares = [BRIGHTEST * i / (count - 1) for i in range(count)]
    mixed: list[str] = sample_colorscale(SCALE, shares)
    return mixed


def _text(name: str) -> str:
    """Escape a name, since Plotly interprets tags in texts."""
    return html.escape(name, quote=False)
