"""Compares two trials: config keys and results that differ."""

from dataclasses import dataclass
from typing import Any

from sweeps.config.nested import flatten
from sweeps.planning.outcomes import format_number
from sweeps.storage.record import Record


@dataclass(frozen=True)
class Difference:
    """Differences between two trials.

    Attributes:
        keys: (value in the first, in the second) by config key; None where it is absent.
        results: likewise for the status and the summary metrics, without times.
    """

    keys: dict[str, tuple[Any, Any]]
    results: dict[str, tuple[Any, Any]]


def difference(first: Record, second: Record) -> Difference:
    """Differences between two trials' configs and results."""
    results = [{"status": r.status} | _untimed(r.summary) for r in (first, second)]
    return Difference(
        keys=_unequal(flatten(first.config), flatten(second.config)),
        results=_unequal(*results),
    )


def table(
    differences: Difference, first: Record, second: Record
) -> tuple[list[str], list[list[str]]]:
    """Header and rows for a terminal.

    Args:
        differences: as `difference` found them.
        first: one trial.
        second: the other trial.
    """
    rows = [
        [name, _shown(a), _shown(b)]
        for part in (differences.keys, differences.results)
        for name, (a, b) in part.items()
    ]
    return ["", first.config_hash[:12], second.config_hash[:12]], rows


def _untimed(summary: dict[str, float]) -> dict[str, Any]:
    return {name: v for name, v in sorted(summary.items()) if not name.startswith("time/")}


def _unequal(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*a, *b])
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _shown(value: Any) -> str:
    return format_number(value) if value is None or isinstance(value, float) else str(value)
