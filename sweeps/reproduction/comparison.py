"""Two runs of one trial compared: every recorded step, every summary metric."""

import math
from dataclasses import dataclass

from sweeps.metrics import COLUMNS, NATS, SUMMARY
from sweeps.storage.record import Record

WORK = {column.name for column in COLUMNS if column.work}
# Of logarithms: where they are small beside 1, only rounding is left of them.
LOGARITHMS = {metric.name for metric in SUMMARY if metric.unit == NATS}
# Two runs that agree so far, relative to a column's size, are the same up to rounding: a
# trial that was packed and the trial alone, say, or another count of threads.
TOLERANCE = 1e-6
IDENTICAL, EQUAL, DIFFERENT = "identical", "equal", "different"


@dataclass(frozen=True)
class Verdict:
    """How a run compares with the one it reproduces.

    Attributes:
        kind: IDENTICAL bit for bit, EQUAL within TOLERANCE, or DIFFERENT.
        deviation: the largest difference of the results, relative to the greatest magnitude
            of its column; infinite where one run has a value and the other none.
        where: the column or metric of it; where the results are identical, a column that
            says how the engine came to them, and is not.
        step: the first GD step at which that column differs; None of a metric.
    """

    kind: str
    deviation: float
    where: str
    step: int | None

    def __str__(self) -> str:
        """One sentence."""
        if self.kind == IDENTICAL:
            return "identical bit for bit: every recorded step and every summary metric"
        since = "" if self.step is None else f", from step {self.step} on"
        if self.kind == EQUAL and not self.deviation:
            own = f"{self.where}, the engine's own work, differs{since}"
            return f"equal: every result is identical bit for bit; {own}"
        most = f"the largest deviation is {self.deviation:.2g} relative, in {self.where}{since}"
        if self.kind == EQUAL:
            return f"equal within {TOLERANCE:g}: {most}"
        return f"different: {most}"


def verdict(first: Record, second: Record) -> Verdict:
    """Compare two runs of one trial: every recorded step, status, every summary metric."""
    if first.status != second.status:
        return Verdict(DIFFERENT, math.inf, "status", None)
    columns = [
        _of_column(first, second, name) for name in {**first.trajectory, **second.trajectory}
    ]
    results = [found for found in columns if found.where not in WORK]
    results += [_of_metric(first, second, name) for name in {**first.summary, **second.summary}]
    worst = max(results, key=lambda found: found.deviation)
    if worst.kind != IDENTICAL:
        return worst
    moved = [found for found in columns if found.kind != IDENTICAL]
    return Verdict(EQUAL, 0.0, moved[0].where, moved[0].step) if moved else worst


def _of_column(first: Record, second: Record, name: str) -> Verdict:
    a, b = first.trajectory.get(name, []), second.trajectory.get(name, [])
    rows = max(len(a), len(b))
    pairs = [(a[t] if t < len(a) else None, b[t] if t < len(b) else None) for t in range(rows)]
    unequal = [t for t, (u, v) in enumerate(pairs) if u != v]
    if not unequal:
        return Verdict(IDENTICAL, 0.0, name, None)
    size = max((abs(v) for pair in pairs for v in pair if v is not None), default=0.0)
    deviation = max(_relative(*pairs[t], size) for t in unequal)
    return Verdict(_kind(deviation), deviation, name, unequal[0])


def _of_metric(first: Record, second: Record, name: str) -> Verdict:
    a, b = first.summary.get(name), second.summary.get(name)
    if a == b or name.startswith("time/"):
        return Verdict(IDENTICAL, 0.0, name, None)
    size = max(abs(v) for v in (a, b, float(name in LOGARITHMS)) if v is not None)
    deviation = _relative(a, b, size)
    return Verdict(_kind(deviation), deviation, name, None)


def _relative(a: float | None, b: float | None, size: float) -> float:
    return math.inf if a is None or b is None else abs(a - b) / size


def _kind(deviation: float) -> str:
    return EQUAL if deviation <= TOLERANCE else DIFFERENT
