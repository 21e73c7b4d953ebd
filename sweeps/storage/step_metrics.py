"""Step metrics of a trial for MLflow: thinned, and each value with its time.

The steps that are kept do not depend on the trial's length. So the points that are sent
while it trains are a part of those that its finished run will hold.
"""

import bisect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeps.metrics import COLUMNS, SYSTEM
from sweeps.storage.record import Columns, Record

# The first values of a step metric, all kept; of each doubling after them 32 are kept.
DENSE = 64
# Samples of the machine's use: (milliseconds since the epoch, value by metric).
Samples = Sequence[tuple[int, dict[str, float]]]
# Smaller values are left out of a curve: its axis is logarithmic.
LEAST = 1e-300


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric.

    Attributes:
        key: the metric.
        value: its value.
        step: the GD step.
        at: milliseconds since the epoch.
    """

    key: str
    value: float
    step: int
    at: int = 0


@dataclass(frozen=True)
class Live:
    """New points of a trial that trains; its finished run will hold the same points.

    Attributes:
        config_hash: the trial.
        started: when its pack began, in milliseconds since the epoch.
        device: the device that it trains on.
        points: points that were not sent before; all points after a resume.
    """

    config_hash: str
    started: int
    device: str
    points: list[Point]


@dataclass(frozen=True)
class StepMetric:
    """A metric that has a value at every measured step.

    Attributes:
        key: its name in MLflow.
        column: the column of the trajectory that it is computed from.
        convert: computes it from the column's value and the column's first value.
    """

    key: str
    column: str
    convert: Callable[[float, float], float] = lambda value, _: value


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


CURVES = (
    StepMetric("curve/loss", "loss"),
    StepMetric("curve/loss_linearized", "log_loss_linearized", lambda log, _: _exp(log)),
    StepMetric("curve/loss_bound", "log_loss_bound", lambda log, _: _exp(log)),
    StepMetric("curve/lambda_ratio", "lambda_min_gram", lambda v, v0: v / v0 if v0 else math.nan),
)
STEP_METRICS = CURVES + tuple(StepMetric(c.metric, c.name) for c in COLUMNS if c.metric)
STEPPED = frozenset(metric.key for metric in STEP_METRICS)


def is_summary(key: str) -> bool:
    """Return whether a metric of a trial's run is one number for the whole trial."""
    return key not in STEPPED and not key.startswith(SYSTEM)


class Clock:
    """Times of GD steps, interpolated linearly between recorded moments.

    Attributes:
        moments: (rows of the trajectory, milliseconds since the epoch), both rising.
    """

    def __init__(self, started: int, moments: Sequence[tuple[int, int]] = ()) -> None:
        """Start with no rows at `started`, in milliseconds since the epoch."""
        self.moments = [(0, started)]
        for rows, at in moments:
            self.add(rows, at)

    def add(self, rows: int, at: int) -> None:
        """Add the moment at which the trajectory had so many rows, unless it has a later one."""
        last_rows, last_at = self.moments[-1]
        if rows > last_rows:
            self.moments.append((rows, max(at, last_at)))

    def at(self, row: int) -> int:
        """Time at which this row of the trajectory was computed, in milliseconds."""
        i = bisect.bisect_right(self.moments, (row, math.inf))
        if i == len(self.moments):
            return self.moments[-1][1]
        (before, start), (after, end) = self.moments[i - 1], self.moments[i]
        return start + (end - start) * (row - before) // (after - before)


class Thinning:
    """Thins the step metrics of one trial while its trajectory grows."""

    def __init__(self) -> None:
        self._rows = 0
        self._count: Counter[str] = Counter()
        self._first: dict[str, float] = {}

    def add(self, columns: Columns, clock: Clock, *, whole: bool = False) -> list[Point]:
        """Points of the next rows of the trajectory.

        Args:
            columns: these rows, with their steps.
            clock: gives their times.
            whole: whether the trajectory ends here; then the last value of each metric is kept.
        """
        points = []
        for metric in STEP_METRICS:
            values = self._drawable(metric, columns)
            first = self._count[metric.key]
            for index, (row, value) in enumerate(values, start=first):
                if is_kept(index) or (whole and index == first + len(values) - 1):
                    step = int(columns["step"][row] or 0)
                    points.append(Point(metric.key, value, step, clock.at(self._rows + row)))
            self._count[metric.key] += len(values)
        self._rows += len(columns["step"])
        return points

    def _drawable(self, metric: StepMetric, columns: Columns) -> list[tuple[int, float]]:
        """(row, value) of the metric wherever it was measured and can be drawn."""
        pairs = []
        for i, raw in enumerate(columns.get(metric.column, ())):
            if raw is None or not math.isfinite(raw):
                continue
            first = self._first.setdefault(metric.key, raw)
            value = metric.convert(raw, first)
            if math.isfinite(value) and (metric not in CURVES or value > LEAST):
                pairs.append((i, value))
        return pairs


def points_of(record: Record) -> list[Point]:
    """All points of a finished trial: its step metrics and the use of its machine."""
    rows = len(record.trajectory["step"])
    clock = Clock(record.started, record.environment.get("moments", []))
    clock.add(rows, record.finished)
    points = Thinning().add(record.trajectory, clock, whole=True)
    return points + system_points(record.environment.get("system", []))


def system_points(samples: Samples, first: int = 0) -> list[Point]:
    """Points of the machine's use from sample `first` on; their step is the sample's number."""
    return [
        Point(key, value, i, at)
        for i, (at, values) in enumerate(samples[first:], start=first)
        for key, value in values.items()
    ]


def is_kept(index: int) -> bool:
    """Return whether the value at this index is kept: the first 64, 32 of each doubling."""
    return index < DENSE or index % (1 << (index // DENSE).bit_length()) == 0
