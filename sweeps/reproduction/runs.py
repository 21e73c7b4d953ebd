"""Train recorded trials again and compare them, one trial or a sample of a sweep."""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import ConfigError
from sweeps.planning.outcomes import format_number
from sweeps.reproduction.checkout import RaisedError
from sweeps.reproduction.comparison import Comparison, compare
from sweeps.reproduction.reproduce import Drift, Runtime, describe_drift, drift, refuse_drift
from sweeps.storage.record import Record
from sweeps.tracking.tracker import Tracker

# Kinds of a reproduction without a comparison.
DRIFTED, FAILED = "drifted", "failed"


@dataclass(frozen=True)
class Reproduction:
    """Result of an attempt to reproduce a trial.

    Attributes:
        record: the recorded trial.
        kind: kind of the comparison; DRIFTED if the environment has changed and the trial was
            not trained again; FAILED if the training raised or its code is not available.
        comparison: the comparison, if the trial was trained again.
        drift: (recorded value, present value) of every key of the environment that differs.
        note: reason why there is no comparison.
        code: the code that trained it, if not that of this process.
        raised: whether its training began and raised.
    """

    record: Record
    kind: str
    comparison: Comparison | None = None
    drift: Drift = field(default_factory=dict)
    note: str = ""
    code: str = ""
    raised: bool = False

    def log_to(self, tracker: Tracker) -> str:
        """Record the comparison in MLflow, if there is one; return the id of its run.

        Raises:
            TrackingError: MLflow refused it.
        """
        if self.comparison is None:
            return ""
        text = f"{self.comparison}{f' ({self.code})' if self.code else ''}"
        return tracker.record_reproduction(self.record, self.kind, text, self.comparison.deviation)


def reproduce_all(
    records: Iterable[Record], runtime_for: Callable[[Record], Runtime], *, allow_drift: bool
) -> Iterator[Reproduction]:
    """Train each trial again and compare it; a failure does not stop the others.

    Args:
        records: the trials.
        runtime_for: see `sweeps.reproduction.reproduce.runtimes`.
        allow_drift: train even if the environment has changed.
    """
    for record in records:
        try:
            runtime = runtime_for(record)
            changed = drift(record, runtime)
            if changed and not allow_drift:
                yield Reproduction(record, DRIFTED, None, changed, describe_drift(changed))
            else:
                result = compare(record, runtime.rerun(record))
                yield Reproduction(record, result.kind, result, changed, code=str(runtime))
        except ConfigError as error:
            raised = isinstance(error, RaisedError)
            yield Reproduction(record, FAILED, note=str(error), raised=raised)


def refuse_without_comparison(reproductions: Sequence[Reproduction], *, one: bool = False) -> None:
    """Raise if no trial could be compared.

    Args:
        reproductions: the results.
        one: True if a single trial is reproduced, which is wrong input if it cannot begin.

    Raises:
        ConfigError: there is a trial, and all are DRIFTED; or the single one is FAILED and
            did not begin.
    """
    if reproductions and all(each.kind == DRIFTED for each in reproductions):
        refuse_drift(reproductions[0].record, reproductions[0].drift)
    if one and reproductions[0].kind == FAILED and not reproductions[0].raised:
        raise ConfigError(reproductions[0].note)


def sample(hashes: Sequence[str], count: int | None, seed: int) -> list[str]:
    """Draw hashes without replacement, and return them in their given order.

    Args:
        hashes: the hashes.
        count: number of hashes to draw; None: all.
        seed: seed of the draw.

    Raises:
        ConfigError: `count` is less than one.
    """
    if count is None:
        return list(hashes)
    if count < 1:
        raise ConfigError(f"--sample {count}: give at least 1")
    chosen = set(random.Random(seed).sample(hashes, min(count, len(hashes))))  # noqa: S311
    return [digest for digest in hashes if digest in chosen]


def table(named: Sequence[tuple[str, Reproduction]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of (trial name, reproduction) pairs."""
    rows = [
        [
            name,
            each.record.config_hash[:12],
            each.kind,
            each.comparison.where if each.comparison and each.comparison.deviation else "",
            format_number(each.comparison.deviation) if each.comparison else "-",
        ]
        for name, each in named
    ]
    return ["trial", "hash", "comparison", "largest in", "deviation"], rows


def to_plain(reproduction: Reproduction) -> dict[str, Any]:
    """A reproduction as JSON data; an infinite deviation becomes None."""
    comparison = reproduction.comparison
    finite = comparison is not None and math.isfinite(comparison.deviation)
    return {
        "config_hash": reproduction.record.config_hash,
        "verdict": reproduction.kind,
        "deviation": comparison.deviation if comparison and finite else None,
        "where": comparison.where if comparison else None,
        "step": comparison.step if comparison else None,
        "drift": sorted(reproduction.drift),
        "at": reproduction.code,
        "note": reproduction.note,
    }
