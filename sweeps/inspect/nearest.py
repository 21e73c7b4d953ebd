"""What makes a trial new: the finished trial nearest to it, and the keys that differ."""

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

_ABSENT = ""  # no JSON text: the value of a key that a config does not have


@dataclass(frozen=True)
class Nearest:
    """The finished trial that fewest keys keep apart from a new one; of several, the latest.

    Attributes:
        config_hash: which.
        keys: (value there, value of the new one) of every key that differs.
    """

    config_hash: str
    keys: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        """For a line of a plan."""
        changes = ", ".join(f"{key} {there} -> {here}" for key, (there, here) in self.keys.items())
        return f"nearest {self.config_hash[:12]}: {changes}"


class NearestConfigs:
    """Finished configs, ready to be asked which of them is nearest.

    A question costs O(keys * distance) operations on integers of a bit for each finished
    config, 64 to a machine's word, where comparing with each would cost O(keys * configs).
    """

    def __init__(self, flat: Sequence[dict[str, Any]]) -> None:
        """Of flat configs, the latest last."""
        self._all = (1 << len(flat)) - 1
        self._having: dict[str, dict[str, int]] = {}
        for i, config in enumerate(flat):
            for key, value in config.items():
                values = self._having.setdefault(key, {})
                text = json.dumps(value)
                values[text] = values.get(text, 0) | 1 << i
        for values in self._having.values():
            values[_ABSENT] = self._all & ~sum(values.values())

    def nearest(self, flat: dict[str, Any]) -> int | None:
        """The place of the nearest; None when there is none."""
        # Those that differ in exactly j of the keys seen so far, j = 0, 1, ...
        apart = [self._all]
        for key, values in self._having.items():
            same = values.get(json.dumps(flat[key]) if key in flat else _ABSENT, 0)
            if same != self._all:
                apart = _moved(apart, same)
        return next((found.bit_length() - 1 for found in apart if found), None)


def novelties(plan: Plan, output: Path) -> dict[str, Nearest | None]:
    """Of every trial of a plan that is not finished, the nearest that is; looks, touches nothing.

    Canonical configs are compared: what is no part of a trial's identity makes none new.
    """
    known = _known(output)
    default = flatten(trial_to_plain(deq.TrialConfig()))
    neighbours = NearestConfigs([flat for _, flat, _ in known])
    found: dict[str, Nearest | None] = {}
    for trial in plan.trials:
        if trial.config_hash in plan.finished:
            continue
        flat = flatten(canonical_of(trial.plain))
        place = neighbours.nearest(flat)
        found[trial.config_hash] = None
        if place is not None:
            digest, there, plain = known[place]
            # A key at its default may be absent from the canonical form, and from an older
            # config.
            then, now = default | flatten(plain), flatten(trial.plain)
            found[trial.config_hash] = Nearest(
                digest,
                {
                    key: (there.get(key, then.get(key)), flat.get(key, now.get(key)))
                    for key in dict.fromkeys([*flat, *there])
                    if (key in there, there.get(key)) != (key in flat, flat.get(key))
                },
            )
    return found


def _moved(apart: list[int], same: int) -> list[int]:
    """The classes of `Neighbours.nearest` after one more key, whose value `same` have."""
    stay = [group & same for group in apart] + [0]
    move = [0] + [group & ~same for group in apart]
    moved = [a | b for a, b in zip(stay, move, strict=True)]
    return moved if moved[-1] else moved[:-1]


def _known(output: Path) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(hash, flat canonical config, config) of every finished trial, the latest last."""
    if not (output / LEDGER).exists():
        return []
    found = []
    with reading(output / LEDGER) as ledger:
        for digest, plain in ledger.configs():
            # A config of another version's keys is no neighbour of this one's.
            with contextlib.suppress(ConfigError):
                found.append((digest, flatten(canonical_of(plain)), plain))
    return found
