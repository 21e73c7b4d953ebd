"""Groups of equal things, in the order in which they appear."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key")


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> list[tuple[Key, list[Item]]]:
    """(key, items) of each group of items whose keys are equal; a dict's order does not count."""
    groups: dict[str, tuple[Key, list[Item]]] = {}
    for item in items:
        value = key(item)
        equal = sorted(value.items()) if isinstance(value, dict) else value
        groups.setdefault(repr(equal), (value, []))[1].append(item)
    return list(groups.values())
