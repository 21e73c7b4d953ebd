"""Compare two runs of one trial: every recorded step and every summary metric.

A later version may record columns and metrics that an earlier one did not know. A run has every
column that its version knows, and of each metric a value or a note why there is none; what only
one of two runs knows is not compared.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweeps.metrics import COLUMNS, SUMMARY
from sweeps.storage.record import Record

# Columns and metrics that count the solver's work, such as iterations; they are no results.
WORK = {entry.name for entry in (*COLUMNS, *SUMMARY) if entry.work}
# Metrics that can be as small as rounding: the scale that their difference is relative to.
SCALES = {metric.name: metric.scale for metric in SUMMARY if metric.scale}
# Relative deviation up to which two runs are equal, e.g. packed and alone, or with another
# number of threads.
TOLERANCE = 1e-6
IDENTICAL, EQUAL, DIFFERENT = "identical", "equal", "different"


@dataclass(frozen=True)
class Comparison:
    """Difference between two runs of one trial.

    Attributes:
        kind: IDENTICAL (bit for bit), EQUAL (within TOLERANCE) or DIFFERENT.
        deviation: the largest difference of a result, relative to the largest magnitude of
            its column; infinite if only one run has a value.
        where: column or metric of that difference. If all results are identical but the
            solver's work is not, a column of that work.
        step: first GD step at which that column differs; None for a metric.
        skipped: number of columns and metrics that only one of the versions records.
    """

    kind: str
    deviation: float
    where: str
    step: int | None
    skipped: int = 0

    def __str__(self) -> str:
        """The comparison in one sentence."""
        only_one = f"; {self.skipped} that only one version records are left out" * bool(
            self.skipped
        )
        return self._outcome() + only_one

    def _outcome(self) -> str:
        if self.kind == IDENTICAL:
            return "identical bit for bit: every recorded step and every summary metric"
        since = "" if self.step is None else f", from step {self.step} on"
        if self.kind == EQUAL and not self.deviation:
            work = f"{self.where}, which counts the engine's work, differs{since}"
            return f"equal: every result is identical bit for bit; {work}"
        most = f"the largest deviation is {self.deviation:.2g} relative, in {self.where}{since}"
        if self.kind == EQUAL:
            return f"equal within {TOLERANCE:g}: {most}"
        return f"different: {most}"


def compare(first: Record, second: Record) -> Comparison:
    """Compare status, every recorded step and every summary metric of two runs."""
    if first.status != second.status:
        return Comparison(DIFFERENT, math.inf, "status", None)
    columns = _shared(first.trajectory, second.trajectory)
    metrics = _shared(first.summary | first.notes, second.summary | second.notes)
    compared = [_compare_column(first, second, name) for name in columns.both]
    results = [column for column in compared if column.where not in WORK]
    results += [_compare_metric(first, second, name) for name in metrics.both]
    worst = max(results, key=lambda result: result.deviation)
    work = [column for column in compared if column.kind != IDENTICAL]
    if worst.kind == IDENTICAL and work:
        worst = Comparison(EQUAL, 0.0, work[0].where, work[0].step)
    return replace(worst, skipped=columns.skipped + metrics.skipped)


@dataclass(frozen=True)
class _Names:
    """Names that both of two runs know, and the number of those that only one knows."""

    both: list[str]
    skipped: int


def _shared(first: Mapping[str, Any], second: Mapping[str, Any]) -> _Names:
    both = [name for name in first if name in second]
    return _Names(both, len({**first, **second}) - len(both))


def _compare_column(first: Record, second: Record, name: str) -> Comparison:
    a, b = first.trajectory.get(name, []), second.trajectory.get(name, [])
    rows = max(len(a), len(b))
    pairs = [(a[t] if t < len(a) else None, b[t] if t < len(b) else None) for t in range(rows)]
    unequal = [t for t, (u, v) in enumerate(pairs) if u != v]
    if not unequal:
        return Comparison(IDENTICAL, 0.0, name, None)
    size = max((abs(v) for pair in pairs for v in pair if v is not None), default=0.0)
    deviation = max(_relative(*pairs[t], size) for t in unequal)
    return Comparison(_kind(deviation), deviation, name, unequal[0])


def _compare_metric(first: Record, second: Record, name: str) -> Comparison:
    a, b = first.summary.get(name), second.summary.get(name)
    if a == b or name.startswith("time/") or name in WORK:
        return Comparison(IDENTICAL, 0.0, name, None)
    scale = SCALES.get(name, name)
    around = (first.summary.get(scale), second.summary.get(scale), float(scale == "1"))
    size = max(abs(v) for v in (a, b, *around) if v is not None)
    deviation = _relative(a, b, size)
    return Comparison(_kind(deviation), deviation, name, None)


def _relative(a: float | None, b: float | None, size: float) -> float:
    return math.inf if a is None or b is None else abs(a - b) / size


def _kind(deviation: float) -> str:
    return EQUAL if deviation <= TOLERANCE else DIFFERENT
