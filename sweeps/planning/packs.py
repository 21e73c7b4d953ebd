"""Splits packs of trials."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def split_pack(pack: Sequence[Item], size: int) -> list[list[Item]]:
    """Split a pack into packs of at most this size."""
    return [list(pack[i : i + size]) for i in range(0, len(pack), size)]


def half(size: int) -> int:
    """Return the size of the larger half of a pack of this size."""
    return (size + 1) // 2
