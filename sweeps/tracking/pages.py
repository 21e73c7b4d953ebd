"""What a sweep's MLflow pages say: its description, its charts, its table of trials."""

from collections.abc import Sequence
from typing import Any

from sweeps import report
from sweeps.labels import Labels, distinct
from sweeps.planning import PlannedTrial, axes_of, main_axis
from sweeps.record import Record
from sweeps.report import Cell, Line, number
from sweeps.search import findings
from sweeps.search.config import FrontierConfig, OptunaConfig, SearchConfig
from sweeps.search.findings import Findings
from sweeps.step_metrics import Point

# Means over seeds of these are drawn on the sweep's own page.
CELL_METRICS = (
    "rate/measured",
    "rate/linearized",
    "rate/bound",
    "rate/measured_over_linearized",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
)
# With more series than this a chart for each is no help: the trials' table is.
MAX_SERIES = 12
# With more trials than these the table is sorted by the runs' own column, which takes MLflow
# a tenth of the time; its sort button then has no name for it.
MANY = 1000
# What the table of trials shows of each, after the name that says the varying values.
TABLE_METRICS = (
    "rate/measured",
    "rate/linearized",
    "rate/measured_over_linearized",
    "rate/bound",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
    "time/seconds",
)


def points(lines: Sequence[Line], search: SearchConfig | None = None) -> list[Point]:
    """The sweep's own metrics.

    Counts, and of every cell the means over seeds: one curve `METRIC/CELL` against the
    greatest whole-number axis (the width, mostly), which MLflow calls the step.
    """
    axis = main_axis([line.planned.varying for line in lines], int)
    found = [
        Point("sweep/trials", float(len(lines)), 0),
        Point("sweep/failed", float(sum(line.status == report.FAILED for line in lines)), 0),
        Point("sweep/reused", float(sum(line.reused for line in lines)), 0),
    ]
    cells = report.cells(lines)
    for key in CELL_METRICS:
        means = [(cell.varying, cell.mean(key)) for cell in cells]
        found += _curves(key, axis, [(varying, mean.value) for varying, mean in means if mean])
    if isinstance(search, FrontierConfig):
        # Against the axis, unless it is the key searched along.
        axis = None if axis == search.key else axis
        for side in ("held", "failed"):
            edges = [(e.cell, getattr(e.bracket, side)) for e in findings.edges(search, lines)]
            known = [(cell, value) for cell, value in edges if value is not None]
            found += _curves(f"frontier/{side}", axis, known)
    if isinstance(search, OptunaConfig):
        # Against the number of points tried.
        bests = findings.bests(search, lines)[:MAX_SERIES]
        names = distinct([_metric_name(best.name) for best in bests])
        found += [
            Point(f"search/best/{name}", value, step)
            for name, best in zip(names, bests, strict=True)
            for step, value in best.history
        ]
    return found


def _curves(
    key: str, axis: str | None, values: Sequence[tuple[dict[str, Any], float]]
) -> list[Point]:
    """A curve against the axis for all that varies besides; none when they are too many."""
    curves: dict[str, tuple[dict[str, Any], list[tuple[int, float]]]] = {}
    for varying, value in values:
        others = {k: v for k, v in varying.items() if k != axis}
        _, curve = curves.setdefault(repr(others), (others, []))
        curve.append((varying[axis] if axis else 0, value))
    if len(curves) > MAX_SERIES:
        return []
    names = _curve_names([others for others, _ in curves.values()])
    return [
        Point(f"{key}/{name}", value, step)
        for name, (_, curve) in zip(names, curves.values(), strict=True)
        for step, value in curve
    ]


def _curve_names(varying: Sequence[dict[str, Any]]) -> list[str]:
    """A metric name for each: the values alone, with their keys where values are not enough."""
    names = [_metric_name("_".join(map(str, v.values())) or "all") for v in varying]
    if len(set(names)) < len(names):
        labels = Labels(key for values in varying for key in values)
        names = [_metric_name(labels(values)) for values in varying]
    return distinct(names)


def describe(
    command: str, lines: Sequence[Line], links: dict[str, str], found: Findings | None = None
) -> str:
    """The sweep's description, in Markdown: what was swept, how it ended, where to look."""
    ended = ", ".join(f"{count} {status}" for status, count in report.counts(lines).items())
    return "\n".join(
        [
            f"**{len(lines)} trials**: {ended}. [The table of them]({links['trials']})",
            "",
            *_swept(lines),
            "",
            f"Launched by `{command}`; the same command again trains only what is missing.",
            "",
            *_in_markdown(found),
            "| cell | measured rate | measured / linearised | measured / bound |",
            "|---|---|---|---|",
            *_rows_of_cells(lines),
            "",
            "Rates in nats per GD step, means over seeds. All trials: `trials.csv` among the "
            "artifacts; with figures and what was violated: `report.html`.",
        ]
    )


def _swept(lines: Sequence[Line]) -> list[str]:
    """The axes and their values."""
    axes = axes_of(line.planned.varying for line in lines)
    return [f"- `{key}`: {_some([str(v) for v in values])}" for key, values in axes.items()]


def _rows_of_cells(lines: Sequence[Line]) -> list[str]:
    """Means over seeds, cell by cell; of more than a hundred, the first."""
    columns = ("rate/measured", "rate/measured_over_linearized", "rate/measured_over_bound")
    return [
        f"| {cell.name} | " + " | ".join(_mean(cell, key) for key in columns) + " |"
        for cell in report.cells(lines)[:100]
    ]


def _mean(cell: Cell, key: str) -> str:
    mean = cell.mean(key)
    return number(mean.value if mean else None)


def _in_markdown(found: Findings | None) -> list[str]:
    if found is None:
        return []
    table = [found.header, ["---"] * len(found.header), *found.rows[:100]]
    return [f"**{found.title}**", "", *(f"| {' | '.join(row)} |" for row in table), ""]


def describe_trial(record: Record) -> str:
    """A trial's description, in Markdown: how it ended, and why a number is absent."""
    absent = [f"- no `{name}`: {why}" for name, why in record.notes.items()]
    at = record.environment.get("resumed_at", [])
    again = f" Interrupted, it went on from step {', '.join(map(str, at))}." if at else ""
    return "\n".join([f"**{record.status}**: {record.reason}.{again}", "", *absent])


def trials_view(sweep: str, trials: Sequence[PlannedTrial]) -> dict[str, Any]:
    """State of MLflow's runs page that shows a sweep's trials with the columns that matter.

    The keys are those of the page's own "share view". Sorting by anything but the date
    makes MLflow show trials in a flat list, not nested under a sweep.
    """
    columns = ["tags.`sweeps.status`"]
    columns += [f"metrics.`{key}`" for key in TABLE_METRICS]
    columns += [f"params.`{key}`" for key in _varying_params(trials)]
    return {
        # Trials, and those that were stopped early.
        "searchFilter": f"tags.`sweeps.sweep` = '{sweep}' and tags.`sweeps.kind` != 'sweep'",
        "orderByKey": "attributes.run_name" if len(trials) > MANY else "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: _width(column) for column in columns},
    }


def _width(column: str) -> int:
    """Pixels that show the whole of a column's name, which MLflow would cut off at 100."""
    return 7 * len(column.partition("`")[2].rstrip("`")) + 30


def _varying_params(trials: Sequence[PlannedTrial]) -> list[str]:
    """Names of the params that vary; a group (data, say) is known by its `name`."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varying)
    return [f"{key}.name" if isinstance(trials[0].plain.get(key), dict) else key for key in keys]


def _metric_name(text: str) -> str:
    """Only what MLflow allows in a metric's name."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-.: " else "_" for c in text)


def _some(values: list[str]) -> str:
    shown = ", ".join(values[:12])
    return shown if len(values) <= 12 else f"{shown}, ... ({len(values)} values)"
