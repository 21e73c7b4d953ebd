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


class NearestConfigs:
    """Index of finished configs. The distance counts (key, value) pairs that only one has."""

    def __init__(self, configs: Sequence[Flat]) -> None:
        """Index flat configs, oldest first."""
        sets = [_items(config) for config in configs]
        # Pairs that all configs share change no order of distances: comparing less is faster.
        self._common = frozenset.intersection(*sets) if sets else frozenset()
        self._sets = [items - self._common for items in sets]

    def nearest(self, config: Flat) -> int | None:
        """Index of the nearest config, the latest of equally near ones; None without configs."""
        items = _items(config) - self._common
        distances = [len(items ^ other) for other in self._sets]
        if not distances:
            return None
        return len(distances) - 1 - distances[::-1].index(min(distances))


def nearest_finished(plan: Plan, output: Path) -> dict[str, Nearest | None]:
    """Find the nearest finished trial for each trial of a plan that is not finished.

    Canonical configs are compared, so keys that are not part of a trial's identity are
    ignored. Nothing is written.

    Returns:
        By config hash; None if no trial is finished yet.
    """
    finished = _finished(output)
    index = NearestConfigs([canonical for _, canonical in finished])
    nearest: dict[str, Nearest | None] = {}
    for trial in plan.trials:
        if trial.config_hash not in plan.finished:
            canonical = flatten(canonical_of(trial.plain))
            i = index.nearest(canonical)
            nearest[trial.config_hash] = None
            if i is not None:
                config_hash, other = finished[i]
                nearest[trial.config_hash] = Nearest(config_hash, _differences(other, canonical))
    return nearest


def _items(config: Flat) -> frozenset[tuple[str, str]]:
    """The (key, JSON value) pairs of a flat config; JSON tells 1 from 1.0 and True."""
    return frozenset((key, json.dumps(value)) for key, value in config.items())


def _differences(old: Flat, new: Flat) -> dict[str, tuple[Any, Any]]:
    """(old, new) values of the keys that differ; a canonical config omits keys at defaults."""
    default = flatten(trial_to_plain(deq.TrialConfig()))
    before, after = default | old, default | new
    return {
        key: (before.get(key), after.get(key))
        for key in dict.fromkeys([*new, *old])
        if (key in old, old.get(key)) != (key in new, new.get(key))
    }


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
