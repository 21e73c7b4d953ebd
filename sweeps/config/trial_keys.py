"""Keys that are part of a trial, according to the typed configs: only they can be axes."""

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import deq
from sweeps.config.config_files import groups
from sweeps.config.launch import LaunchConfig
from sweeps.errors import ConfigError

_WORD = re.compile(r"\w+(\.\w+)*")
# Sections of the config, and keys outside of any section.
SECTIONS = {field.name for kind in (deq.TrialConfig, LaunchConfig) for field in fields(kind)}


def check_axis(keys: Iterable[str]) -> None:
    """Refuse an axis that does not change the trial: its values would all be one trial.

    Args:
        keys: those that the axis sets; it is enough when one of them changes the trial.

    Raises:
        ConfigError: none of them is part of a trial.
    """
    parts = {key: is_part_of_trial(key) for key in keys}
    if parts and all(part is False for part in parts.values()):
        first = next(iter(parts))
        raise ConfigError(f"{first} is no part of a trial: give one value", key=first)


@functools.cache
def is_part_of_trial(key: str) -> bool | None:
    """Return whether this key belongs to a trial's identity; None when there is no such key.

    A field that is represented by a digest (metadata `digest`) does, through the digest.
    """
    if chains := _chains([deq.TrialConfig], key.split(".")):
        return any(all(map(_counts, (field for field, _ in chain))) for chain in chains)
    return False if key in groups() or types_at([LaunchConfig], key) else None


@functools.cache
def is_mapping(key: str) -> bool:
    """Return whether the key is, or lies in, a mapping whose names the user chooses."""
    parts = key.split(".")
    starts = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return any(get_origin(hint) is dict for key in starts for hint in types_at([LaunchConfig], key))


@functools.cache
def holds_keys(key: str) -> bool:
    """Return whether the value at a dotted key is a mapping: a section, axes, or names and values.

    A list that is merged into it is an error of Hydra that does not name the key.
    """
    hints = types_at([deq.TrialConfig, LaunchConfig], key)
    return key in ("axes", "paper") or any(
        get_origin(hint) is dict or _members(hint) for hint in hints
    )


def types_at(kinds: Sequence[Any], key: str) -> list[Any]:
    """Types that the value at a dotted key of these dataclasses may have; none without the key."""
    return [chain[-1][1] for chain in _chains(kinds, key.split("."))]


def key_in(text: str, section: str = "") -> str:
    """Key that a validator's text begins with ("eta must be above 0"); else the section.

    Args:
        text: the text of a ValueError of a config or of its data.
        section: the section that was validated.
    """
    word = _WORD.match(text)
    for key in [f"{section}.{word[0]}".strip("."), word[0]] if word else []:
        if types_at([deq.TrialConfig, LaunchConfig], key):
            return key
    return section


def _chains(kinds: Sequence[Any], path: list[str]) -> list[list[tuple[Field[Any], Any]]]:
    """(field, type) pairs along each way that the path may lead through these dataclasses."""
    chains = []
    for kind in kinds:
        for field in (field for field in fields(kind) if field.name == path[0]):
            hint = get_type_hints(kind)[field.name]
            if len(path) == 1:
                chains.append([(field, hint)])
            elif get_origin(hint) is dict:
                chains.append([(field, get_args(hint)[1])])
            else:
                chains += [[(field, hint), *rest] for rest in _chains(_members(hint), path[1:])]
    return chains


def _counts(field: Field[Any]) -> bool:
    """Return whether a field is part of the identity, itself or through its digest."""
    return field.metadata.get("identity", True) or "digest" in field.metadata


def _members(hint: Any) -> list[Any]:
    """Dataclasses in a type, which may be a union."""
    return [kind for kind in (get_args(hint) or (hint,)) if is_dataclass(kind)]
