"""What a sweep found: its lines, the table of them, the CSV, and means over seeds."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import deq
from sweeps.config.early_stopping import STOPPED
from sweeps.planning.labels import Labels
from sweeps.planning.plan import PlannedTrial

COLUMNS = {
    "measured rate": "rate/measured",
    "linearised": "rate/linearized",
    "bound": "rate/bound",
    "measured/bound": "rate/measured_over_bound",
    "lambda_0/m": "theory/lambda_0_over_m",
    "lambda_*": "theory/lambda_star",
    "seconds": "time/seconds",
}
FAILED, MISSING, STOPPED_BY_PERSON = "failed", "missing", "stopped by a person"
# Of a trial without a result.
UNFINISHED = (FAILED, MISSING, STOPPED_BY_PERSON)


@dataclass(frozen=True)
class TrialOutcome:
    """One trial of a sweep, and what came of it.

    Attributes:
        planned: the trial.
        status: how it ended; FAILED when it raised, MISSING when it never ran,
            STOPPED_BY_PERSON when `sweeps stop` ended it.
        summary: its summary metrics, where it has a result.
        error: what it raised, or who stopped it.
        reused: whether it was finished before the sweep was launched.
    """

    planned: PlannedTrial
    status: str
    summary: dict[str, float] = field(default_factory=dict)
    error: str = ""
    reused: bool = False

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self.status not in UNFINISHED


@dataclass(frozen=True)
class SeedGroup:
    """Repeats of one configuration over seeds.

    Attributes:
        name: what varies in the sweep, the seed aside, as a name.
        varying: the same by key.
        lines: a line for each seed.
    """

    name: str
    varying: dict[str, Any]
    lines: list[TrialOutcome]

    def mean(self, key: str) -> "deq.Mean | None":
        """The mean of a metric over the seeds; None when there is none."""
        values = values_of(self.lines, key)
        return deq.mean(values) if values else None


def table(lines: Sequence[TrialOutcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table a sweep ends with."""
    rows = [
        [
            line.planned.name,
            line.status,
            *(format_number(line.summary.get(k)) for k in COLUMNS.values()),
        ]
        for line in lines
    ]
    return ["trial", "status", *COLUMNS], rows


def to_csv(lines: Sequence[TrialOutcome]) -> str:
    """Every trial, reused ones included, with all summary metrics."""
    keys = sorted({key for line in lines for key in line.summary})
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["trial", "status", "reused", "config_hash", "cell_hash", *keys])
    for line in lines:
        p = line.planned
        values = [line.summary.get(key) for key in keys]
        writer.writerow(
            [p.name, line.status, line.reused, p.config_hash, p.cell_hash]
            + ["" if v is None else repr(v) for v in values]
        )
    return sink.getvalue()


def status_counts(lines: Sequence[TrialOutcome]) -> dict[str, int]:
    """How many trials ended in which way."""
    found: dict[str, int] = {}
    for line in lines:
        found[line.status] = found.get(line.status, 0) + 1
    return dict(sorted(found.items()))


def seed_groups(lines: Sequence[TrialOutcome]) -> list[SeedGroup]:
    """The trials by their configuration without the seed, in the plan's order."""
    groups: dict[str, list[TrialOutcome]] = {}
    for line in lines:
        groups.setdefault(line.planned.cell_hash, []).append(line)
    labels, found = labels_of(lines), []
    for group in groups.values():
        varying = _without(group[0].planned.varying, "seed")
        found.append(SeedGroup(labels(varying), varying, group))
    return found


def labels_of(lines: Iterable[TrialOutcome]) -> Labels:
    """The names of what varies in a sweep."""
    return Labels(key for line in lines for key in line.planned.varying)


def group_by_others(
    lines: Iterable[TrialOutcome], *keys: str
) -> list[tuple[dict[str, Any], list[TrialOutcome]]]:
    """The trials by all that varies but these keys: the values, and the trials with them."""
    groups: dict[str, tuple[dict[str, Any], list[TrialOutcome]]] = {}
    for line in lines:
        outer = _without(line.planned.varying, *keys)
        groups.setdefault(repr(sorted(outer.items())), (outer, []))[1].append(line)
    return list(groups.values())


def _without(varying: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in varying.items() if key not in keys}


def values_of(lines: Sequence[TrialOutcome], key: str) -> list[float]:
    """A metric of repeats; of a rate none where one was stopped early.

    Those that were not are the faster ones: a mean over them would be too high.
    """
    if key.startswith("rate/") and any(line.status == STOPPED for line in lines):
        return []
    return [line.summary[key] for line in lines if key in line.summary]


def format_number(value: float | None) -> str:
    """Four significant digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"
