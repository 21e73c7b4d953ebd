"""Short names of trials and grid cells, built from the values that vary in their sweep."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any


class Labels:
    """Builds names from values, with keys as short as possible.

    A key is shortened to its shortest dotted ending that no other varying key ends with:
    `model.width` to `width`; `data.seed` stays where `seed` varies too.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        """Shorten the keys that vary in a sweep."""
        unique = dict.fromkeys(keys)
        self._short = {key: _short(key, unique) for key in unique}

    def __call__(self, varying: dict[str, Any]) -> str:
        """Name that states these values, e.g. `width=128 relu seed=0`; `default` without any."""
        # An own activation, MODULE:NAME, comes last: a list of names may cut their end off.
        items = sorted(varying.items(), key=lambda item: ":" in str(item[1]))
        return " ".join(self._part(key, value) for key, value in items) or "default"

    def key(self, key: str) -> str:
        """Short name of a key."""
        return self._short.get(key, key)

    def _part(self, key: str, value: Any) -> str:
        short = self.key(key)
        return value_text(value) if short == "activation" else f"{short}={value_text(value)}"


def value_text(value: Any) -> str:
    """Text from which the value can be read back: six digits of a float where they are exact."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def numbered(names: Sequence[str]) -> list[str]:
    """The names, with duplicates numbered: `a_1`, `b`, `a_2`."""
    count, seen = Counter(names), Counter[str]()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name}_{seen[name]}" if count[name] > 1 else name)
    return unique


def _short(key: str, keys: Iterable[str]) -> str:
    """Shortest dotted ending of a key that no other key ends with."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        ending = ".".join(parts[start:])
        if not any(f".{other}".endswith(f".{ending}") for other in keys if other != key):
            return ending
    return key
