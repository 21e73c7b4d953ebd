"""Explain why a trial is new: the most similar finished trial, and the keys that differ."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deq
from sweeps.config.nested import flatten
from sweeps.config.request import trial_to_plain
from sweeps.config.stored import canonical_of
from sweeps.errors import ConfigError
from sweeps.planning.plan import Plan
from sweeps.storage.ledger import reading
from sweeps.storage.output_root import LEDGER

Flat = dict[str, Any]  # a config with dotted keys


@dataclass(frozen=True)
class Nearest:
    """The finished trial whose config is most similar to that of a new trial.

    Attributes:
        config_hash: hash of the finished trial.
        keys: (its value, the new trial's value) of every key that differs.
    """

    config_hash: str
    keys: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        """The trial and the differences, for a line of the printed plan."""
        changes = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in self.keys.items())
        return f"nearest {self.config_hash[:12]}: {changes}"


def nearest_of(config: Flat, others: Sequence[frozenset[tuple[str, str]]]) -> int | None:
    """Index of the config with the fewest differing pairs, the latest of several; None without one.

    Args:
        config: a flat config.
        others: the `pairs` of each other config, oldest first.
    """
    new = pairs(config)
    return min(range(len(others)), key=lambda i: (len(new ^ others[i]), -i), default=None)


def nearest_finished(plan: Plan, output: Path) -> dict[str, Nearest | None]:
    """Find the nearest finished trial for each trial of a plan that is not finished.

    Canonical configs are compared, so keys that are not part of a trial's identity are
    ignored. Nothing is written.

    Returns:
        By config hash; None if no trial is finished yet.
    """
    finished = _finished(output)
    others = [pairs(canonical) for _, canonical in finished]
    nearest: dict[str, Nearest | None] = {}
    for trial in plan.trials:
        if trial.config_hash not in plan.finished:
            canonical = flatten(canonical_of(trial.plain))
            i = nearest_of(canonical, others)
            nearest[trial.config_hash] = i if i is None else _nearest(*finished[i], canonical)
    return nearest


def pairs(config: Flat) -> frozenset[tuple[str, str]]:
    """The (key, JSON value) pairs of a flat config; JSON tells 1 from 1.0 and True."""
    return frozenset((key, json.dumps(value)) for key, value in config.items())


def _nearest(config_hash: str, old: Flat, new: Flat) -> Nearest:
    """A finished trial and its differences; a canonical config omits keys at their defaults."""
    default = flatten(trial_to_plain(deq.TrialConfig()))
    before, after = default | old, default | new
    keys = {
        key: (before.get(key), after.get(key))
        for key in dict.fromkeys([*new, *old])
        if (key in old, old.get(key)) != (key in new, new.get(key))
    }
    return Nearest(config_hash, keys)


def _finished(output: Path) -> list[tuple[str, Flat]]:
    """(hash, flat canonical config) of every finished trial, oldest first."""
    if not (output / LEDGER).exists():
        return []
    finished = []
    with reading(output / LEDGER) as ledger:
        for digest, plain in ledger.configs():
            # Configs with keys of another version cannot be compared.
            with contextlib.suppress(ConfigError):
                finished.append((digest, flatten(canonical_of(plain))))
    return finished
