"""What a sweep's MLflow pages say: its description, its charts, its table of trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps import report
from sweeps.planning import PlannedTrial
from sweeps.record import Record
from sweeps.report import Line, number

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


@dataclass(frozen=True)
class Point:
    """One metric value at one step."""

    key: str
    value: float
    step: int


def points(lines: Sequence[Line]) -> list[Point]:
    """The sweep's own metrics.

    Counts, and of every cell the means over seeds: one curve `METRIC/CELL` against the
    greatest whole-number axis (the width, mostly), which MLflow calls the step.
    """
    axis = _step_axis([line.planned for line in lines])
    found = [
        Point("sweep/trials", float(len(lines)), 0),
        Point("sweep/failed", float(sum(line.status == report.FAILED for line in lines)), 0),
        Point("sweep/reused", float(sum(line.reused for line in lines)), 0),
    ]
    for key in CELL_METRICS:
        curves: dict[str, list[Point]] = {}
        for cell in report.cells(lines, key):
            others = [f"{v}" for k, v in cell.varying.items() if k != axis]
            name = "/".join([key, _metric_name("_".join(others) or "all")])
            step = int(str(cell.varying[axis])) if axis else 0
            curves.setdefault(name, []).append(Point(name, cell.mean, step))
        if len(curves) <= MAX_SERIES:
            found += [point for curve in curves.values() for point in curve]
    return found


def describe(command: str, lines: Sequence[Line], links: dict[str, str]) -> str:
    """The sweep's description, in Markdown: what was swept, how it ended, where to look."""
    ended = ", ".join(f"{count} {status}" for status, count in report.counts(lines).items())
    axes: dict[str, list[str]] = {}
    for line in lines:
        for key, value in line.planned.varying.items():
            seen = axes.setdefault(key, [])
            if str(value) not in seen:
                seen.append(str(value))
    swept = [f"- `{key}`: {_some(values)}" for key, values in axes.items()]
    columns = ("rate/measured", "rate/measured_over_linearized", "rate/measured_over_bound")
    means = [{cell.name: cell.mean for cell in report.cells(lines, key)} for key in columns]
    names = dict.fromkeys(report.cell_name(line) for line in lines)
    rows = [
        f"| {name} | " + " | ".join(number(column.get(name)) for column in means) + " |"
        for name in list(names)[:100]
    ]
    return "\n".join(
        [
            f"**{len(lines)} trials**: {ended}. [The table of them]({links['trials']})",
            "",
            *swept,
            "",
            f"Launched by `{command}`; the same command again trains only what is missing.",
            "",
            "| cell | measured rate | measured / linearised | measured / bound |",
            "|---|---|---|---|",
            *rows,
            "",
            "Rates in nats per GD step, means over seeds. All trials: `trials.csv` among the "
            "artifacts; with figures and what was violated: `report.html`.",
        ]
    )


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
        "searchFilter": f"tags.`sweeps.sweep` = '{sweep}' and tags.`sweeps.kind` = 'trial'",
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": columns,
    }


def _varying_params(trials: Sequence[PlannedTrial]) -> list[str]:
    """Names of the params that vary; a group (data, say) is known by its `name`."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varying)
    return [f"{key}.name" if isinstance(trials[0].plain.get(key), dict) else key for key in keys]


def _step_axis(trials: Sequence[PlannedTrial]) -> str | None:
    """The axis with the most different whole numbers, the seed aside."""
    seen: dict[str, set[int]] = {}
    for trial in trials:
        for key, value in trial.varying.items():
            if key != "seed" and isinstance(value, int) and not isinstance(value, bool):
                seen.setdefault(key, set()).add(value)
    return max(seen, key=lambda key: len(seen[key]), default=None)


def _metric_name(text: str) -> str:
    """Only what MLflow allows in a metric's name."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-.: " else "_" for c in text)


def _some(values: list[str]) -> str:
    shown = ", ".join(values[:12])
    return shown if len(values) <= 12 else f"{shown}, ... ({len(values)} values)"
