"""Metrics of a sweep's page in MLflow: counts, and means over seeds."""

from collections.abc import Sequence
from typing import Any

from sweeps.config.search import SearchConfig
from sweeps.metrics.shown import CURVES_IN_MLFLOW
from sweeps.planning import outcomes
from sweeps.planning.labels import Labels, numbered
from sweeps.planning.outcomes import SeedGroup, TrialOutcome
from sweeps.planning.plan import main_axis
from sweeps.search.registry import summarize
from sweeps.storage.step_metrics import Point

# The sweep's page shows the means of these metrics over seeds.
# With more series than this, charts do not help; the trials' table does.
MAX_SERIES = 12


def points(lines: Sequence[TrialOutcome], search: SearchConfig | None = None) -> list[Point]:
    """Return the metrics of a sweep's page.

    These are counts, and the means over seeds of every cell: a curve `METRIC/CELL` against the
    whole-number axis with the most values (usually the width), which becomes MLflow's step. A cell
    with a trial that is still to be trained has none yet: MLflow would keep its mean beside the
    later one.

    Args:
        lines: outcome of each trial.
        search: the search, if its results are to be included.
    """
    axis = main_axis([line.planned.varying for line in lines], int)
    points = [
        Point("sweep/trials", float(len(lines)), 0),
        Point("sweep/failed", float(sum(line.status == outcomes.FAILED for line in lines)), 0),
        Point("sweep/reused", float(sum(line.reused for line in lines)), 0),
    ]
    cells = [cell for cell in outcomes.seed_groups(lines) if not _is_open(cell)]
    for key in CURVES_IN_MLFLOW:
        means = [(cell.varying, cell.mean(key)) for cell in cells]
        points += _curves(key, axis, [(varying, mean.value) for varying, mean in means if mean])
    summary = summarize(search, lines) if search else None
    if search is None or summary is None:
        return points
    # Against the axis, unless the search is along that key.
    axis = None if axis in search.space else axis
    for key, values in summary.by_cell.items():
        points += _curves(key, axis, values)
    for key, series in summary.by_step.items():
        names = numbered([_metric_name(name) for name, _ in series[:MAX_SERIES]])
        points += [
            Point(f"{key}/{name}", value, step)
            for name, (_, history) in zip(names, series, strict=False)
            for step, value in history
        ]
    return points


def _is_open(cell: SeedGroup) -> bool:
    """Return whether a trial of this cell was not trained, or not to its end."""
    return any(
        line.status in (outcomes.MISSING, outcomes.STOPPED_BY_PERSON) for line in cell.outcomes
    )


def _curves(
    key: str, axis: str | None, values: Sequence[tuple[dict[str, Any], float]]
) -> list[Point]:
    """Return a curve against the axis for each combination of the other values.

    There are none if there would be more than MAX_SERIES.
    """
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
    """Return a metric name for each curve: its values, with their keys if that is ambiguous."""
    names = [_metric_name("_".join(map(str, v.values())) or "all") for v in varying]
    if len(set(names)) < len(names):
        labels = Labels(key for values in varying for key in values)
        names = [_metric_name(labels(values)) for values in varying]
    return numbered(names)


def _metric_name(text: str) -> str:
    """Replace the characters that MLflow does not allow in a metric's name."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-.: " else "_" for c in text)
