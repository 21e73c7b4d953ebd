"""Markdown for MLflow's descriptions, adapted to how MLflow shows it."""

import re
from collections.abc import Sequence
from itertools import accumulate

# MLflow shows tables without space between columns or below the table.
SPACE, LINE = "&emsp;", "&nbsp;"


def heading(text: str) -> str:
    """Return a heading with an empty line above it."""
    return f"{LINE}\n\n**{text}**"


def escaped(text: str) -> str:
    r"""Return a text with Markdown and HTML characters escaped."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with space between its columns; "" if it has no rows."""
    if not rows:
        return ""
    return "\n".join([_row(header), "|" + ":---|" * len(header), *map(_row, rows)])


def fitting(rows: Sequence[Sequence[str]], room: int) -> list[Sequence[str]]:
    """Return the first rows, as many as fit into a table of `room` characters."""
    ends = accumulate(len(_row(row)) + 1 for row in rows)
    return [row for row, end in zip(rows, ends, strict=True) if end <= room]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "&#124;") + SPACE for cell in cells) + " |"
