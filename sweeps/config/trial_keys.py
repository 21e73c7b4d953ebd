"""Keys that are part of a trial, according to the typed configs: only they can be axes."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import deq
from sweeps.config.config_files import groups
from sweeps.config.launch import LaunchConfig
from sweeps.errors import ConfigError

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
        raise ConfigError(f"{next(iter(parts))} is no part of a trial: give one value")


@functools.cache
def is_part_of_trial(key: str) -> bool | None:
    """Whether this key belongs to a trial's identity; None when there is no such key."""
    path = key.split(".")
    trial = _counting([deq.TrialConfig], path)
    if trial:
        return any(trial)
    return False if key in groups() or _counting([LaunchConfig], path) else None


@functools.cache
def is_mapping(key: str) -> bool:
    """Whether the key is, or lies in, a mapping whose names the user chooses."""
    return any(
        get_origin(hint) is dict
        for end in range(1, key.count(".") + 2)
        for hint in _hints([LaunchConfig], key.split(".")[:end])
    )


def _counting(kinds: Sequence[Any], path: list[str]) -> list[bool]:
    """Whether each field that the path may lead to is part of the identity.

    A field that is represented by a digest (metadata `digest`) is, through the digest.
    """
    counting = []
    for field, hint in _fields(kinds, path[0]):
        counts = field.metadata.get("identity", True) or "digest" in field.metadata
        if len(path) == 1 or get_origin(hint) is dict:
            counting.append(counts)
        else:
            counting += [counts and inner for inner in _counting(_members(hint), path[1:])]
    return counting


def _hints(kinds: Sequence[Any], path: list[str]) -> list[Any]:
    """Types of the fields that the path may lead to."""
    hints = [hint for _, hint in _fields(kinds, path[0])]
    if len(path) == 1:
        return hints
    return [inner for hint in hints for inner in _hints(_members(hint), path[1:])]


def _fields(kinds: Sequence[Any], name: str) -> list[tuple[Field[Any], Any]]:
    """Fields of this name, with their types."""
    return [
        (field, get_type_hints(kind)[name])
        for kind in kinds
        for field in fields(kind)
        if field.name == name
    ]


def _members(hint: Any) -> list[Any]:
    """Dataclasses in a type, which may be a union."""
    return [kind for kind in (get_args(hint) or (hint,)) if is_dataclass(kind)]
