"""State of MLflow's runs page that a sweep's printed link opens: charts, and a table.

MLflow's front end reads it from an experiment tag (its "shared view"). The keys are the front
end's own: tests/sweeps/test_charts.py fails when a version of MLflow no longer knows one.
"""

from collections.abc import Sequence
from typing import Any

from sweeps.planning.plan import PlannedTrial, main_axis

# Up to this many trials are all drawn. Of more, the first twenty: with a hundred, MLflow takes
# twice as long, and the lines cover each other.
ALL = 50
# With more trials than these the table is sorted by the runs' own column, which takes MLflow
# a tenth of the time; its sort button then has no name for it.
MANY = 1000
MEASURED, PREDICTED, RATIO = "rate/measured", "rate/linearized", "rate/measured_over_linearized"
# Columns of the table of trials, after the run's name, which says the varying values.
TABLE_METRICS = (
    RATIO,
    MEASURED,
    PREDICTED,
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
    "time/seconds",
)
# Columns that MLflow has of its own: the run's name, and its description, which begins with
# the verdict: rounded numbers, where MLflow shows a metric with all its digits.
NAME, VERDICT = "attributes.`Run Name`", "attributes.`Description`"
DATASET = "attributes.`Dataset`"
# Sections of charts: name, and the step metrics drawn in it with the scale of their axis.
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
# Sections that MLflow makes of the other metrics, by their prefix. They begin closed.
CLOSED = ("rate", "theory", "train", "spectrum", "solver", "time", "System metrics")


def trials_view(sweep: str, trials: Sequence[PlannedTrial]) -> dict[str, Any]:
    """State of MLflow's runs page that shows a sweep's trials: charts, and columns of the table.

    Sorting by anything but the date makes MLflow show trials in a flat list, not nested under
    a sweep.
    """
    columns = [VERDICT, DATASET, "tags.`sweeps.status`"]
    columns += [f"metrics.`{key}`" for key in TABLE_METRICS]
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
    """Column that the trials are sorted by."""
    if len(trials) > MANY:
        return "attributes.run_name"
    # Those of one seed first: one of each group of seeds.
    if len(trials) > ALL and all("seed" in trial.varying for trial in trials):
        return "params.`seed`"
    return "tags.`mlflow.runName`"


def _sections() -> list[dict[str, Any]]:
    return [
        {"uuid": name, "name": name, "display": name not in CLOSED, "isReordered": True}
        for name in (LOSSES, RATES, SPECTRA, *CLOSED)
    ]


def _charts(trials: Sequence[PlannedTrial]) -> list[dict[str, Any]]:
    """Charts in the order of their sections."""
    params = _varying_params(trials)
    axis = _axis(trials)
    charts = [_scatter((PREDICTED, "METRIC"), (MEASURED, "METRIC"))]
    if axis:
        charts.append(_scatter((axis, "PARAM"), (RATIO, "METRIC")))
        charts.append(
            _chart("PARALLEL", RATES, "parallel")
            | {
                "selectedParams": _but_the_seed(params),
                "selectedMetrics": [RATIO],
                "showAllRuns": False,
            }
        )
    return charts + [_line(key, *place) for key, place in CURVES.items()]


def _but_the_seed(params: Sequence[str]) -> list[str]:
    """The params without the seed, where others vary."""
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
    """Chart with a point for each trial; an axis is a name and METRIC or PARAM."""
    return _chart("SCATTER", RATES, f"{y[0]} {x[0]}") | {
        "xaxis": {"key": x[0], "type": x[1]},
        "yaxis": {"key": y[0], "type": y[1]},
    }


def _line(key: str, section: str, scale: str) -> dict[str, Any]:
    """Chart of a step metric against the GD step, with a line for each trial."""
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
    """Param that varies most: a number where one does, the seed last; None when nothing does."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varying)
    most = main_axis([trial.varying for trial in trials])
    others = [param for key, param in zip(keys, _varying_params(trials), strict=True)]
    return most or next(iter(sorted(others, key=lambda param: param == "seed")), None)


def _width(column: str) -> int:
    """Pixels that show the whole of a column's name, which MLflow would cut off at 100."""
    return 7 * len(column.partition("`")[2].rstrip("`")) + 30


def _name_width(trials: Sequence[PlannedTrial]) -> int:
    """Pixels that show the longest name, within reason."""
    return min(500, 7 * max((len(trial.name) for trial in trials), default=0) + 70)


def _varying_params(trials: Sequence[PlannedTrial]) -> list[str]:
    """Names of the params that vary; a group (data, say) is known by its `name`."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varying)
    return [f"{key}.name" if isinstance(trials[0].plain.get(key), dict) else key for key in keys]
