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
        for hint in types_at([LaunchConfig], ".".join(key.split(".")[:end]))
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


def types_at(kinds: Sequence[Any], key: str) -> list[Any]:
    """Types that the value at a dotted key of these dataclasses may have."""
    name, _, rest = key.partition(".")
    hints = [hint for _, hint in _fields(kinds, name)]
    if not rest:
        return hints
    return [
        inner
        for hint in hints
        for inner in (
            get_args(hint)[1:] if get_origin(hint) is dict else types_at(_members(hint), rest)
        )
    ]


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
