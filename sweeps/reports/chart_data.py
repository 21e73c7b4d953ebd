"""Numbers that the interactive charts of a report show, thinned so that its file stays small."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.planning.outcomes import TrialOutcome, seed_groups
from sweeps.planning.plan import axes_of
from sweeps.reports.figures import Study
from sweeps.reports.figures.study import value
from sweeps.storage.record import Columns
from sweeps.storage.step_metrics import is_kept

# Curves of at most this many trials, and points of at most this many, are drawn.
MOST_CURVES, MOST_POINTS = 50, 2000
# Predicted losses this many times beyond the measured ones are cut off.
BEYOND = 100.0
# Metrics that can be put on an axis, and their names there.
METRICS = {
    "rate/measured": "measured rate",
    "rate/linearized": "linearised rate",
    "rate/population": "population rate",
    "rate/bound": "guaranteed rate (bound)",
    "rate/measured_over_linearized": "measured / linearised rate",
    "rate/measured_over_bound": "measured / guaranteed rate",
    "theory/lambda_0_over_m": "lambda_0 / m",
    "theory/lambda_star": "lambda_*",
    "theory/lambda_ratio_min": "least lambda_t / lambda_0",
    "theory/gram_error": "||G(0)/m - K||_F",
    "theory/slack_7": "slack of (7)",
    "theory/slack_8": "slack of (8)",
    "theory/slack_9": "slack of (9)",
    "theory/slack_10": "slack of (10)",
}
Points = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Table:
    """Data of the charts that have one point for each trial.

    Attributes:
        lines: the trials, evenly chosen where they are many.
        keys: config keys that vary in the sweep, the seed aside, the main axis first.
        columns: values by config key or metric, one for each trial; None where it has none.
    """

    lines: list[TrialOutcome]
    keys: list[str]
    columns: dict[str, list[Any]]

    @property
    def hashes(self) -> list[str]:
        """The config hashes, shortened."""
        return [line.planned.short_hash for line in self.lines]


@dataclass(frozen=True)
class Curves:
    """Curves of one trial against the GD step.

    Attributes:
        line: the trial.
        group: the name of its group of seeds.
        loss, linearized, bound: losses; empty where not known.
        ratio: lambda_t / lambda_0.
    """

    line: TrialOutcome
    group: str
    loss: Points
    linearized: Points
    bound: Points
    ratio: Points


def table(study: Study) -> Table:
    """The table of a study's finished trials."""
    lines = spread_over(study.lines, MOST_POINTS)
    varying = axes_of(line.planned.varying for line in study.lines)
    keys = [key for key in varying if key != "seed" and len(varying[key]) > 1] or [study.axis]
    keys.sort(key=lambda key: key != study.axis)
    columns: dict[str, list[Any]] = {key: [_plain(x, key) for x in lines] for key in keys}
    for metric in METRICS:
        column = [rounded(line.summary.get(metric)) for line in lines]
        if any(v is not None for v in column):
            columns[metric] = column
    return Table(lines, keys, columns)


def curves(study: Study) -> list[Curves]:
    """Curves of at most MOST_CURVES trials whose trajectory is at hand."""
    found = []
    for group, line in _chosen(study.lines):
        columns = study.trajectory(line.planned.config_hash)
        if columns is not None:
            found.append(_curves(line, group, columns))
    measured = [v for each in found for v in each.loss[1] if v > 0]
    if not measured:
        return found
    low, high = min(measured) / BEYOND, max(measured) * BEYOND
    for each in found:
        for steps, values in (each.linearized, each.bound):
            inside = [(t, v) for t, v in zip(steps, values, strict=True) if low < v < high]
            steps[:], values[:] = [t for t, _ in inside], [v for _, v in inside]
    return found


def spread_over(lines: Sequence[TrialOutcome], most: int) -> list[TrialOutcome]:
    """At most so many of the trials, evenly chosen."""
    if len(lines) <= most:
        return list(lines)
    return [lines[i * len(lines) // most] for i in range(most)]


def rounded(number: float | None) -> float | None:
    """Six significant digits; None of what is no finite number."""
    return float(f"{number:.6g}") if number is not None and math.isfinite(number) else None


def _chosen(lines: Sequence[TrialOutcome]) -> list[tuple[str, TrialOutcome]]:
    """One trial of each group of seeds, evenly chosen, then the second ones and so on."""
    groups = seed_groups(lines)
    if len(groups) > MOST_CURVES:
        groups = [groups[i * len(groups) // MOST_CURVES] for i in range(MOST_CURVES)]
    most = max((len(group.lines) for group in groups), default=0)
    turns = [
        (group.name, group.lines[i])
        for i in range(most)
        for group in groups
        if i < len(group.lines)
    ]
    place = {group.name: i for i, group in enumerate(groups)}
    return sorted(turns[:MOST_CURVES], key=lambda turn: place[turn[0]])


def _curves(line: TrialOutcome, group: str, columns: Columns) -> Curves:
    loss = _thinned(columns, "loss")
    linearized = _exponential(_thinned(columns, "log_loss_linearized"))
    bound = _exponential(_thinned(columns, "log_loss_bound"))
    steps, lambdas = _thinned(columns, "lambda_min_gram")
    first = lambdas[0] if lambdas and lambdas[0] else math.nan
    ratio = _known(steps, [v / first for v in lambdas])
    return Curves(line, group, loss, linearized, bound, ratio)


def _thinned(columns: Columns, name: str) -> Points:
    """Steps and values of a column where it was measured, as MLflow's step metrics are thinned."""
    rows = zip(columns["step"], columns.get(name, ()), strict=False)
    known = [(t, v) for t, v in rows if t is not None and v is not None and math.isfinite(v)]
    some = [known[i] for i in _kept(len(known))]
    return [t for t, _ in some], [v for _, v in some]


@functools.cache
def _kept(count: int) -> list[int]:
    """Which of so many values are kept; the last one is."""
    return [i for i in range(count) if is_kept(i) or i == count - 1]


def _exponential(points: Points) -> Points:
    steps, logs = points
    return _known(steps, [math.exp(v) if abs(v) < 700 else math.nan for v in logs])


def _known(steps: list[float], values: list[float]) -> Points:
    found = [(t, v) for t, v in zip(steps, values, strict=True) if math.isfinite(v)]
    return [t for t, _ in found], [v for _, v in found]


def _plain(line: TrialOutcome, key: str) -> Any:
    """A trial's value of a config key as it can stand on an axis: a number or a word."""
    found = line.planned.varying.get(key, value(line, key))
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None if found is None else str(found)
    return found
