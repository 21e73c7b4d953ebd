"""Trials that were to be reproduced, one or a sweep's sample, and how each attempt went."""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import ConfigError
from sweeps.planning.outcomes import format_number
from sweeps.reproduction.comparison import Verdict, verdict
from sweeps.reproduction.reproduce import Drift, Runtime, drift, refuse_drift, told
from sweeps.storage.record import Record
from sweeps.tracking.tracker import Tracker

# How a trial may stand beside the verdicts of those that were trained again.
DRIFTED, FAILED = "drifted", "failed"


@dataclass(frozen=True)
class Attempt:
    """A trial that was to be reproduced, and how that went.

    Attributes:
        record: the trial as it was.
        kind: the verdict's kind; DRIFTED, not trained again for the conditions are others;
            FAILED, it raised or its code could not be had.
        verdict: the comparison, where there is one.
        drift: (then, now) of every condition that is another.
        note: why there is no verdict.
        code: the code it was trained with, where that is not the code here.
    """

    record: Record
    kind: str
    verdict: Verdict | None = None
    drift: Drift = field(default_factory=dict)
    note: str = ""
    code: str = ""

    def told_to(self, tracker: Tracker) -> str:
        """Record the verdict in MLflow, if there is one; its run's id.

        Raises:
            TrackingError: MLflow did not take it.
        """
        if self.verdict is None:
            return ""
        text = f"{self.verdict}{f' ({self.code})' if self.code else ''}"
        return tracker.reproduced(self.record, self.kind, text, self.verdict.deviation)


def attempt(record: Record, place: Runtime, *, allow_drift: bool) -> Attempt:
    """Train a trial again and compare.

    Raises:
        ConfigError: the conditions are others and that is not allowed, or it raised.
    """
    changed = drift(record, place)
    if not allow_drift:
        refuse_drift(record, changed)
    found = verdict(record, place.again(record))
    return Attempt(record, found.kind, found, changed, code=str(place))


def attempts(
    records: Iterable[Record], place: Callable[[Record], Runtime], *, allow_drift: bool
) -> Iterator[Attempt]:
    """Each of these, as far as it goes: none keeps the others from being tried."""
    for record in records:
        try:
            where = place(record)
            changed = drift(record, where)
            if changed and not allow_drift:
                yield Attempt(record, DRIFTED, None, changed, told(changed))
            else:
                yield attempt(record, where, allow_drift=True)
        except ConfigError as error:
            yield Attempt(record, FAILED, note=str(error))


def refuse_all_drifted(found: Sequence[Attempt]) -> None:
    """Refuse to say how a sweep reproduces of which nothing could be compared.

    Raises:
        ConfigError: every trial, one at least, was made under other conditions.
    """
    if found and all(tried.kind == DRIFTED for tried in found):
        refuse_drift(found[0].record, found[0].drift)


def sample(hashes: Sequence[str], count: int | None, seed: int) -> list[str]:
    """`count` of these, or all, each set equally likely; in their own order.

    Raises:
        ConfigError: fewer than one is asked for.
    """
    if count is None:
        return list(hashes)
    if count < 1:
        raise ConfigError(f"--sample {count}: take one trial at least")
    chosen = set(random.Random(seed).sample(hashes, min(count, len(hashes))))  # noqa: S311
    return [digest for digest in hashes if digest in chosen]


def table(found: Sequence[tuple[str, Attempt]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of (name, attempt)s for a terminal."""
    rows = [
        [
            name,
            tried.record.config_hash[:12],
            tried.kind,
            tried.verdict.where if tried.verdict and tried.verdict.deviation else "",
            format_number(tried.verdict.deviation) if tried.verdict else "-",
        ]
        for name, tried in found
    ]
    return ["trial", "hash", "verdict", "most in", "deviation"], rows


def to_plain(tried: Attempt) -> dict[str, Any]:
    """An attempt for a script; no deviation where it is infinite."""
    found = tried.verdict
    finite = found is not None and math.isfinite(found.deviation)
    return {
        "config_hash": tried.record.config_hash,
        "verdict": tried.kind,
        "deviation": found.deviation if found and finite else None,
        "where": found.where if found else None,
        "step": found.step if found else None,
        "drift": sorted(tried.drift),
        "at": tried.code,
        "note": tried.note,
    }
