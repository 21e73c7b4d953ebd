"""Choice of a table's columns that fit a terminal, and its text where there is no terminal."""

from collections.abc import Sequence

# Space between two columns.
GAP = "  "
# A column of text may wrap at this width or more before another column is left out.
LEAST_TEXT = 32
# A column of this width or less, as of hashes, does not wrap while there is room.
SHORT = 12
# Least width of a column that wraps.
LEAST = 6


def fitting_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int,
    drop: Sequence[str],
    room: int,
) -> list[int]:
    """Return the positions of the columns that fit, in their order.

    Args:
        header: names of the columns.
        rows: the rows.
        left: number of columns of text, which can wrap; the others hold numbers.
        drop: columns that are left out first, in this order; then the numbers, from the right.
            The other columns of text always stay.
        room: width of the terminal.
    """
    widths = _widths(header, rows)
    needed = [min(w, LEAST_TEXT) if i < left else w for i, w in enumerate(widths)]
    kept = list(range(len(header)))
    first = [header.index(name) for name in drop]
    for i in [*first, *(i for i in reversed(kept) if i >= left and i not in first)]:
        if sum(needed[k] for k in kept) + len(GAP) * (len(kept) - 1) <= room:
            break
        kept.remove(i)
    return kept


def wrapping_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, room: int
) -> list[bool]:
    """Return for each column whether it may wrap: if the rest fits, all but short ones.

    A short column has at most SHORT characters; where room is scarce, also one word in each cell.
    """
    widths = _widths(header, rows)
    words = [all(" " not in cell for cell in cells) for cells in zip(*rows, strict=True)]
    short = [width <= SHORT for width in widths]
    single = [each and word for each, word in zip(short, words or short, strict=True)]
    for kept in (short, single):
        least = sum(w if k else min(w, LEAST) for w, k in zip(widths, kept, strict=True))
        if least + len(GAP) * (len(widths) - 1) <= room:
            return [not each for each in kept]
    return [True] * len(widths)


def as_text(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return the whole table as lines of text, with nothing cut or wrapped."""
    widths = _widths(header, rows)

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return GAP.join(padded).rstrip()

    return "\n".join(map(line, [header, *rows]))


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(header, *rows, strict=True)]
