"""Nested dicts: flatten, look up, update."""

from typing import Any

from sweeps.config.misspellings import nearest
from sweeps.errors import ConfigError


def flatten(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A flat dict whose keys are the nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def overlap(one: str, other: str) -> bool:
    """Return whether two dotted keys are equal, or one contains the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def updated(plain: dict[Any, Any], values: dict[str, Any]) -> dict[Any, Any]:
    """A copy of plain data with new values at these dotted keys.

    A mapping sets the keys in it and leaves the others, as when Hydra merges it.

    Raises:
        ConfigError: there is no such key.
    """
    changed = dict(plain)
    for key, value in flatten(values).items():
        value_at(changed, key)
        *path, leaf = key.split(".")
        place = changed
        for part in path:  # a deep copy of thousands of configs would be slow
            place[part] = dict(place[part])
            place = place[part]
        place[leaf] = value
    return changed


def value_at(plain: dict[Any, Any], key: str) -> Any:
    """The value at a dotted key of plain data.

    Raises:
        ConfigError: there is no such key.
    """
    place: Any = plain
    for part in key.split("."):
        if not isinstance(place, dict) or part not in place:
            raise ConfigError(f"no key {key!r} to sweep{nearest(key, flatten(plain))}", key=key)
        place = place[part]
    return place
