"""Data of a report's interactive charts, thinned so that its file stays small."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweeps.metrics.shown import ON_AXES
from sweeps.planning.outcomes import TrialOutcome, seed_groups
from sweeps.planning.plan import axes_of
from sweeps.reports.figures import Study
from sweeps.reports.figures.study import value
from sweeps.reports.frames import measured
from sweeps.reports.spread import evenly
from sweeps.storage.record import Columns
from sweeps.storage.step_metrics import is_kept

if TYPE_CHECKING:
    from sweeps.reports.frames import Series

# Most trials that are drawn as curves.
MAX_CURVES = 50
# Most trials that are drawn as points.
MAX_POINTS = 2000
# Predicted losses are cut off beyond this factor of the measured losses.
BEYOND = 100.0


@dataclass(frozen=True)
class Table:
    """Data of the charts that have one point for each trial.

    Attributes:
        outcomes: the trials, evenly chosen if there are many.
        keys: config keys that vary in the sweep, without the seed; the main axis comes first.
        columns: values by config key or metric, one for each trial; None if absent.
    """

    outcomes: list[TrialOutcome]
    keys: list[str]
    columns: dict[str, list[Any]]

    @property
    def hashes(self) -> list[str]:
        """The shortened config hashes."""
        return [x.planned.short_hash for x in self.outcomes]


@dataclass(frozen=True)
class Curves:
    """Curves of one trial: series whose index is the GD step.

    Attributes:
        outcome: the trial.
        group: name of its group of seeds.
        loss, linearized, bound: losses; empty if not available.
        ratio: lambda_t / lambda_0.
    """

    outcome: TrialOutcome
    group: str
    loss: "Series[float]"
    linearized: "Series[float]"
    bound: "Series[float]"
    ratio: "Series[float]"


def table(study: Study) -> Table:
    """The table of a study's finished trials."""
    outcomes = evenly(study.outcomes, MAX_POINTS)
    varying = axes_of(x.planned.varying for x in study.outcomes)
    keys = [key for key in varying if key != "seed" and len(varying[key]) > 1] or [study.axis]
    keys.sort(key=lambda key: key != study.axis)
    columns: dict[str, list[Any]] = {key: [_axis_value(x, key) for x in outcomes] for key in keys}
    for metric in ON_AXES:
        column = [rounded(x.summary.get(metric)) for x in outcomes]
        if any(v is not None for v in column):
            columns[metric] = column
    return Table(outcomes, keys, columns)


def curves(study: Study) -> list[Curves]:
    """Curves of at most MAX_CURVES trials whose trajectory is available."""
    all_curves = []
    for group, outcome in _chosen(study.outcomes):
        columns = study.trajectory(outcome.planned.config_hash)
        if columns is not None:
            all_curves.append(_curves(outcome, group, columns))
    losses = [loss for each in all_curves for loss in each.loss if loss > 0]
    if not losses:
        return all_curves
    low, high = min(losses) / BEYOND, max(losses) * BEYOND

    def cut(predicted: "Series[float]") -> "Series[float]":
        return predicted[(predicted > low) & (predicted < high)]

    return [replace(x, linearized=cut(x.linearized), bound=cut(x.bound)) for x in all_curves]


def rounded(number: float | None) -> float | None:
    """Six significant digits; None for None, NaN and infinity."""
    return float(f"{number:.6g}") if number is not None and math.isfinite(number) else None


def _chosen(outcomes: Sequence[TrialOutcome]) -> list[tuple[str, TrialOutcome]]:
    """At most MAX_CURVES (group name, trial) pairs, with equally many seeds of each group."""
    groups = evenly(seed_groups(outcomes), MAX_CURVES)
    # (seed's position, group's position): the first seeds of all groups come first.
    places = sorted((k, i) for i, group in enumerate(groups) for k in range(len(group.outcomes)))
    chosen = sorted((i, k) for k, i in places[:MAX_CURVES])
    return [(groups[i].name, groups[i].outcomes[k]) for i, k in chosen]


def _curves(outcome: TrialOutcome, group: str, columns: Columns) -> Curves:
    lambdas = _thinned(columns, "lambda_min_gram")
    return Curves(
        outcome,
        group,
        loss=_thinned(columns, "loss"),
        linearized=_exponential(_thinned(columns, "log_loss_linearized")),
        bound=_exponential(_thinned(columns, "log_loss_bound")),
        ratio=lambdas / lambdas.iloc[0] if len(lambdas) and lambdas.iloc[0] else lambdas[:0],
    )


def _thinned(columns: Columns, name: str) -> "Series[float]":
    """Finite values of a column by GD step, thinned like MLflow's step metrics."""
    series = measured(columns, name)
    last = len(series) - 1
    return series[[is_kept(i) or i == last for i in range(len(series))]]


def _exponential(logs: "Series[float]") -> "Series[float]":
    """Losses from their logarithms, without those that overflow."""
    return logs[logs.abs() < 700].map(math.exp)


def _axis_value(outcome: TrialOutcome, key: str) -> Any:
    """A trial's value of a config key as a number or a word for an axis."""
    config_value = outcome.planned.varying.get(key, value(outcome, key))
    if isinstance(config_value, bool) or not isinstance(config_value, int | float):
        return None if config_value is None else str(config_value)
    return config_value
