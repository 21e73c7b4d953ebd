"""Markdown of MLflow's descriptions, for what MLflow's pages make of it."""

import re
from collections.abc import Sequence
from itertools import accumulate

# MLflow draws tables without any space between columns, and none below them.
SPACE, LINE = "&emsp;", "&nbsp;"


def heading(text: str) -> str:
    """A heading with a free line above it."""
    return f"{LINE}\n\n**{text}**"


def escaped(text: str) -> str:
    r"""The text as it stands: `lambda_*` begins no italics, a `<` no HTML."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with space between its columns; empty when it has no rows."""
    if not rows:
        return ""
    return "\n".join([_row(header), "|" + ":---|" * len(header), *map(_row, rows)])


def fitting(rows: Sequence[Sequence[str]], room: int) -> list[Sequence[str]]:
    """The first of the rows, as many as a table of that many characters has room for."""
    ends = accumulate(len(_row(row)) + 1 for row in rows)
    return [row for row, end in zip(rows, ends, strict=True) if end <= room]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "&#124;") + SPACE for cell in cells) + " |"
