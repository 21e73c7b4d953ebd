"""State of the MLflow page that a sweep's link opens: charts, and a table.

MLflow's front end reads it from an experiment tag (its "shared view"). The keys are private
parts of the front end; tests/sweeps/test_charts.py fails if MLflow changes one.
"""

from collections.abc import Sequence
from typing import Any

from sweeps.metrics.shown import OF_TRIALS_IN_MLFLOW
from sweeps.planning.plan import PlannedTrial, main_axis

# Up to this many trials are all shown in charts. Of more, the first twenty: with a hundred,
# MLflow takes twice as long, and the lines cover each other.
ALL = 50
# With more trials than this, the table is sorted by the column of run names, which takes MLflow
# a tenth of the time; but its sort button then shows no name.
MANY = 1000
MEASURED, PREDICTED, RATIO = "rate/measured", "rate/linearized", "rate/measured_over_linearized"
# MLflow's own columns: the run's name, and its description. The description begins with the
# verdict, in rounded numbers; MLflow shows a metric with all its digits.
NAME, VERDICT = "attributes.`Run Name`", "attributes.`Description`"
DATASET = "attributes.`Dataset`"
# Names of the sections of charts, and the section and axis scale of each step metric.
LOSSES = "Loss against the GD step"
RATES = "Measured against predicted rate"
SPECTRA = "Spectra against the GD step"
CURVES = {
    "curve/loss": (LOSSES, "log"),
    "curve/loss_linearized": (LOSSES, "log"),
    "curve/loss_bound": (LOSSES, "log"),
    "curve/lambda_ratio": (SPECTRA, "linear"),
    "spectrum/norm_w": (SPECTRA, "linear"),
}
# Sections that MLflow makes from the prefixes of the other metrics. They are closed at first.
CLOSED = ("rate", "theory", "train", "test", "spectrum", "solver", "time", "System metrics")


def trials_view(sweep: str, trials: Sequence[PlannedTrial]) -> dict[str, Any]:
    """Return the state of MLflow's runs page that shows a sweep's trials.

    It is sorted by something else than the date: so MLflow shows trials in a flat list, and not
    nested under a sweep.
    """
    columns = [VERDICT, DATASET, "tags.`sweeps.status`"]
    columns += [f"metrics.`{key}`" for key in OF_TRIALS_IN_MLFLOW]
    columns += [f"params.`{key}`" for key in _varying_params(trials)]
    return {
        # Trials, and those that were stopped early.
        "searchFilter": f"tags.`sweeps.sweep` = '{sweep}' and tags.`sweeps.kind` != 'sweep'",
        "orderByKey": _order(trials),
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": [NAME, *columns],
        "columnWidths": {column: _width(column) for column in columns}
        | {NAME: _name_width(trials), VERDICT: 340, DATASET: 130},
        "runsHiddenMode": "SHOW_ALL" if len(trials) <= ALL else "FIRST_20_RUNS",
        "isAccordionReordered": True,
        "compareRunSections": _sections(),
        "compareRunCharts": _charts(trials),
    }


def _order(trials: Sequence[PlannedTrial]) -> str:
    """Return the column to sort the trials by."""
    if len(trials) > MANY:
        return "attributes.run_name"
    # Trials of one seed come first, so that the first twenty are of different seed groups.
    if len(trials) > ALL and all("seed" in trial.varying for trial in trials):
        return "params.`seed`"
    return "tags.`mlflow.runName`"


def _sections() -> list[dict[str, Any]]:
    return [
        {"uuid": name, "name": name, "display": name not in CLOSED, "isReordered": True}
        for name in (LOSSES, RATES, SPECTRA, *CLOSED)
    ]


def _charts(trials: Sequence[PlannedTrial]) -> list[dict[str, Any]]:
    """Return the charts in the order of their sections."""
    params = _varying_params(trials)
    axis = _axis(trials)
    charts = [_scatter((PREDICTED, "METRIC"), (MEASURED, "METRIC"))]
    if axis:
        charts.append(_scatter((axis, "PARAM"), (RATIO, "METRIC")))
        charts.append(
            _chart("PARALLEL", RATES, "parallel")
            | {
                "selectedParams": _without_seed(params),
                "selectedMetrics": [RATIO],
                "showAllRuns": False,
            }
        )
    return charts + [_line(key, *place) for key, place in CURVES.items()]


def _without_seed(params: Sequence[str]) -> list[str]:
    """Return the params without the seed, if others vary."""
    return [param for param in params if param != "seed"] or list(params)


def _chart(kind: str, section: str, uuid: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": uuid,
        "runsCountToCompare": 100,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
    }


def _scatter(x: tuple[str, str], y: tuple[str, str]) -> dict[str, Any]:
    """Return a chart with a point for each trial; an axis is a name and METRIC or PARAM."""
    return _chart("SCATTER", RATES, f"{y[0]} {x[0]}") | {
        "xaxis": {"key": x[0], "type": x[1]},
        "yaxis": {"key": y[0], "type": y[1]},
    }


def _line(key: str, section: str, scale: str) -> dict[str, Any]:
    """Return a chart of a step metric against the GD step, with a line for each trial."""
    return _chart("LINE", section, key) | {
        "metricKey": key,
        "selectedMetricKeys": [key],
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "xAxisKey": "step",
        "useGlobalXaxisKey": False,
        "selectedXAxisMetricKey": "",
        "xAxisScaleType": "linear",
        "scaleType": scale,
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
    }


def _axis(trials: Sequence[PlannedTrial]) -> str | None:
    """Return the param with the most values, numbers first and the seed last; None if none."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varying)
    most = main_axis([trial.varying for trial in trials])
    others = [param for key, param in zip(keys, _varying_params(trials), strict=True)]
    return most or next(iter(sorted(others, key=lambda param: param == "seed")), None)


def _width(column: str) -> int:
    """Return the width in pixels for a column's whole name; MLflow would cut it off at 100."""
    return 7 * len(column.partition("`")[2].rstrip("`")) + 30


def _name_width(trials: Sequence[PlannedTrial]) -> int:
    """Return the width in pixels for the longest run name, at most 500."""
    return min(500, 7 * max((len(trial.name) for trial in trials), default=0) + 70)


def _varying_params(trials: Sequence[PlannedTrial]) -> list[str]:
    """Return the names of the params that vary; for a group, such as data, its `name`."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varying)
    return [f"{key}.name" if isinstance(trials[0].plain.get(key), dict) else key for key in keys]
