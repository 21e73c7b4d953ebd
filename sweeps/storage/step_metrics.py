"""Step metrics of a trial, as MLflow is sent them: thinned, and each with its time.

Which steps are kept does not depend on how long the trial will be, so that a trial that is
still training sends a part of what its finished run will hold.
"""

import bisect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeps.metrics import COLUMNS, SYSTEM
from sweeps.storage.record import Columns, Record

# Values of a step metric that are all kept; after them half as many of each doubling.
DENSE = 64
# (milliseconds since the epoch, use of the machine by metric) of every sample.
Samples = Sequence[tuple[int, dict[str, float]]]
# Numbers below this are left out of a curve: its axis is logarithmic.
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
class StepMetric:
    """A metric that has a value at every measured step.

    Attributes:
        key: as MLflow knows it.
        column: the trajectory's column that it is made from.
        convert: its value, from the column's and from the column's first one.
    """

    key: str
    column: str
    convert: Callable[[float, float], float]


def _same(value: float, first: float) -> float:
    del first
    return value


def _exponential(value: float, first: float) -> float:
    del first
    return math.exp(value) if value < 700 else math.inf


def _ratio(value: float, first: float) -> float:
    return value / first if first else math.nan


CURVES = (
    StepMetric("curve/loss", "loss", _same),
    StepMetric("curve/loss_linearized", "log_loss_linearized", _exponential),
    StepMetric("curve/loss_bound", "log_loss_bound", _exponential),
    StepMetric("curve/lambda_ratio", "lambda_min_gram", _ratio),
)
STEP_METRICS = CURVES + tuple(StepMetric(c.metric, c.name, _same) for c in COLUMNS if c.metric)
STEPPED = frozenset(metric.key for metric in STEP_METRICS)
# Columns that every trajectory has, and that step metrics are made from.
MEASURED = frozenset(column.name for column in COLUMNS if column.metric)


def is_summary(key: str) -> bool:
    """Whether a metric of a trial's run is a summary metric: one number of the whole trial."""
    return key not in STEPPED and not key.startswith(SYSTEM)


class Clock:
    """Times of GD steps: linear between moments that are known.

    Attributes:
        moments: (rows of the trajectory, milliseconds since the epoch), both rising.
    """

    def __init__(self, started: int, moments: Sequence[tuple[int, int]] = ()) -> None:
        """Begin at `started`, in milliseconds since the epoch, with no rows."""
        self.moments = [(0, started)]
        for rows, at in moments:
            self.add(rows, at)

    def add(self, rows: int, at: int) -> None:
        """Note when the trajectory had this many rows, unless a later moment is known."""
        last_rows, last_at = self.moments[-1]
        if rows > last_rows:
            self.moments.append((rows, max(at, last_at)))

    def at(self, row: int) -> int:
        """When this row of the trajectory was computed."""
        i = bisect.bisect_right(self.moments, (row, math.inf))
        if i == len(self.moments):
            return self.moments[-1][1]
        (before, start), (after, end) = self.moments[i - 1], self.moments[i]
        return start + (end - start) * (row - before) // (after - before)


class Thinning:
    """Thins the step metrics of one trial, part by part as its trajectory grows."""

    def __init__(self) -> None:
        self._rows = 0
        self._seen: Counter[str] = Counter()
        self._first: dict[str, float] = {}

    def add(self, columns: Columns, clock: Clock, *, whole: bool = False) -> list[Point]:
        """The points of the trajectory's next rows.

        Args:
            columns: these rows, with their steps.
            clock: knows their times.
            whole: whether the trajectory ends with them: each metric's last value is kept.
        """
        points = []
        for metric in STEP_METRICS:
            known = self._known(metric, columns)
            first = self._seen[metric.key]
            for index, (row, value) in enumerate(known, start=first):
                if is_kept(index) or (whole and index == first + len(known) - 1):
                    step = int(columns["step"][row] or 0)
                    points.append(Point(metric.key, value, step, clock.at(self._rows + row)))
            self._seen[metric.key] += len(known)
        self._rows += len(columns["step"])
        return points

    def _known(self, metric: StepMetric, columns: Columns) -> list[tuple[int, float]]:
        """Row and value of the metric where it was measured and can be drawn."""
        found = []
        for i, raw in enumerate(columns.get(metric.column, ())):
            if raw is None or not math.isfinite(raw):
                continue
            first = self._first.setdefault(metric.key, raw)
            value = metric.convert(raw, first)
            if math.isfinite(value) and (metric not in CURVES or value > LEAST):
                found.append((i, value))
        return found


def points_of(record: Record) -> list[Point]:
    """All points of a finished trial's step metrics and of the use of its machine."""
    rows = len(record.trajectory["step"])
    clock = Clock(record.started, record.environment.get("moments", []))
    clock.add(rows, record.finished)
    points = Thinning().add(record.trajectory, clock, whole=True)
    return points + system_points(record.environment.get("system", []))


def system_points(samples: Samples, first: int = 0) -> list[Point]:
    """Samples of the machine's use from `first` on, as points whose step is their number."""
    return [
        Point(key, value, i, at)
        for i, (at, values) in enumerate(samples[first:], start=first)
        for key, value in values.items()
    ]


def is_kept(index: int) -> bool:
    """Whether the value of this index, from 0, is kept: 64 at first, then 32 of each doubling."""
    return index < DENSE or index % (1 << (index // DENSE).bit_length()) == 0
