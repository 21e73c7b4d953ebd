"""Outcomes of a sweep's trials: table, CSV, data frame, and groups of seeds.

The door to pandas, which is imported when a frame is made.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import deq
from sweeps.config.early_stopping import STOPPED
from sweeps.config.nested import flatten
from sweeps.metrics import shown
from sweeps.planning.groups import grouped
from sweeps.planning.labels import Labels
from sweeps.planning.plan import PlannedTrial

if TYPE_CHECKING:
    import pandas as pd

FAILED, MISSING, STOPPED_BY_PERSON = "failed", "missing", "stopped by a person"
# Statuses of trials without a result.
UNFINISHED = (FAILED, MISSING, STOPPED_BY_PERSON)


@dataclass(frozen=True)
class TrialOutcome:
    """Outcome of one trial of a sweep.

    Attributes:
        planned: the trial.
        status: of its result; else FAILED when it raised, MISSING when it never ran,
            STOPPED_BY_PERSON when `sweeps stop` ended it.
        summary: summary metrics of its result.
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
        """Return whether there is a result."""
        return self.status not in UNFINISHED


@dataclass(frozen=True)
class SeedGroup:
    """Trials of one configuration that differ in their seed.

    Attributes:
        name: short name that states the values of `varying`.
        varying: values of the sweep's axes, without the seed, by key.
        outcomes: the outcome for each seed.
    """

    name: str
    varying: dict[str, Any]
    outcomes: list[TrialOutcome]

    def mean(self, key: str) -> "deq.Mean | None":
        """Mean of a metric over the seeds; None when no seed has it."""
        values = values_of(self.outcomes, key)
        return deq.mean(values) if values else None


def table(outcomes: Sequence[TrialOutcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table that `sweeps run` prints at the end."""
    rows = [
        [
            outcome.planned.name,
            outcome.status,
            *(format_number(outcome.summary.get(k)) for k in shown.OF_TRIALS),
        ]
        for outcome in outcomes
    ]
    return ["trial", "status", *shown.headings(shown.OF_TRIALS)], rows


def frame(outcomes: Sequence[TrialOutcome]) -> "pd.DataFrame":
    """All trials as a data frame, one row each.

    Returns:
        Columns trial, config_hash, cell_hash, status, error, reused; config keys such as
        `model.width`; summary metrics such as `rate/measured`. NaN where there is none.
    """
    import pandas as pd  # slow: not for commands that make no frame

    return pd.DataFrame(
        {
            "trial": outcome.planned.name,
            "config_hash": outcome.planned.config_hash,
            "cell_hash": outcome.planned.cell_hash,
            "status": outcome.status,
            "error": outcome.error,
            "reused": outcome.reused,
            **flatten(outcome.planned.plain),
            **outcome.summary,
        }
        for outcome in outcomes
    )


def to_csv(outcomes: Sequence[TrialOutcome]) -> str:
    """Every trial, reused ones included, with the keys that vary and all its summary metrics."""
    keys = dict.fromkeys(key for outcome in outcomes for key in outcome.planned.varying)
    metrics = sorted({key for outcome in outcomes for key in outcome.summary})
    names = ["trial", *keys, "status", "reused", "config_hash", "cell_hash", *metrics]
    return str(frame(outcomes).reindex(columns=names).to_csv(index=False, lineterminator="\n"))


def status_counts(outcomes: Sequence[TrialOutcome]) -> dict[str, int]:
    """Number of trials by status, in alphabetical order."""
    return dict(sorted(Counter(outcome.status for outcome in outcomes).items()))


def seed_groups(outcomes: Sequence[TrialOutcome]) -> list[SeedGroup]:
    """Groups of trials that differ in their seed only, in the plan's order."""
    labels, groups = labels_of(outcomes), grouped(outcomes, lambda each: each.planned.cell_hash)
    varying = [_without(group[0].planned.varying, "seed") for _, group in groups]
    return [
        SeedGroup(labels(values), values, group)
        for values, (_, group) in zip(varying, groups, strict=True)
    ]


def labels_of(outcomes: Iterable[TrialOutcome]) -> Labels:
    """Labels for the keys that vary in a sweep."""
    return Labels(key for outcome in outcomes for key in outcome.planned.varying)


def group_by_others(
    outcomes: Iterable[TrialOutcome], *keys: str
) -> list[tuple[dict[str, Any], list[TrialOutcome]]]:
    """Groups of trials that differ in these keys only.

    Returns:
        (values of the other keys that vary, the trials with these values) of each group.
    """
    return grouped(outcomes, lambda each: _without(each.planned.varying, *keys))


def _without(varying: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in varying.items() if key not in keys}


def values_of(outcomes: Sequence[TrialOutcome], key: str) -> list[float]:
    """Values of a metric over seeds; none of a rate where a seed was stopped early.

    The seeds that were not stopped are the faster ones: their mean rate would be too high.
    """
    if key.startswith("rate/") and any(outcome.status == STOPPED for outcome in outcomes):
        return []
    return [outcome.summary[key] for outcome in outcomes if key in outcome.summary]


def format_number(value: float | None) -> str:
    """Four significant digits; a dash for None."""
    return "-" if value is None else f"{value:.4g}"
