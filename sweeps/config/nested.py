"""Plain data: nested dicts of numbers and text, and how they are said in one line."""

import difflib
from collections.abc import Iterable
from typing import Any

from sweeps.errors import ConfigError
from sweeps.redaction import without_secrets


def flatten(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def one_line(error: BaseException) -> str:
    """An error's type and text, in one line and without secrets."""
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))


def format_bytes(count: float) -> str:
    """A number of bytes, in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: "1 trial", "2 trials"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def nearest(key: str, known: Iterable[str]) -> str:
    """The end of an error message: the known name a misspelt one is nearest to."""
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ": `sweeps show` prints all keys"


def updated(plain: dict[Any, Any], values: dict[str, Any]) -> dict[Any, Any]:
    """A copy of plain data with other values at these dotted keys.

    A mapping is merged into the one at its key, as Hydra merges it: it sets the keys in it.

    Raises:
        ConfigError: there is no such key.
    """
    changed = dict(plain)
    for key, value in flatten(values).items():
        value_at(changed, key)
        *path, leaf = key.split(".")
        place = changed
        for part in path:  # only what lies on the way is copied: there are thousands of these
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
            raise ConfigError(f"no key {key!r} to sweep{nearest(key, flatten(plain))}")
        place = place[part]
    return place
