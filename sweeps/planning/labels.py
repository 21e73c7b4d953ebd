"""Short names of trials and of cells, made of the values that vary in their sweep."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any


class Labels:
    """Names by values, with keys as short as the keys that vary in a sweep allow.

    A key is known by the shortest of its dotted endings that is no ending of another key:
    `model.width` by `width`, and `data.seed` by `data.seed` where `seed` varies too.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        """Shorten the keys that vary in a sweep."""
        known = dict.fromkeys(keys)
        self._short = {key: _short(key, known) for key in known}

    def __call__(self, varying: dict[str, Any]) -> str:
        """A name that says these values: `width=128 relu seed=0`; `default` without any."""
        return " ".join(self._part(key, value) for key, value in varying.items()) or "default"

    def _part(self, key: str, value: Any) -> str:
        short = self._short.get(key, key)
        return value_text(value) if short == "activation" else f"{short}={value_text(value)}"


def value_text(value: Any) -> str:
    """A value as text from which it can be read back: six digits where they say it exactly."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def numbered(names: Sequence[str]) -> list[str]:
    """The names, those that are there several times numbered: `a_1`, `b`, `a_2`."""
    count, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name}_{seen[name]}" if count[name] > 1 else name)
    return found


def _short(key: str, keys: Iterable[str]) -> str:
    """The shortest dotted ending of a key that is no ending of another key."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        ending = ".".join(parts[start:])
        if not any(f".{other}".endswith(f".{ending}") for other in keys if other != key):
            return ending
    return key
