"""Output on a terminal by rich: lines, tables, and rows that are redrawn while a command runs."""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.console import Console, Group, JustifyMethod
from rich.constrain import Constrain
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.driver.narrow_tables import as_text, fitting_columns, wrapping_columns
from sweeps.driver.progress import SweepProgress

# Most rows of a table: more are too many to read, and take seconds to lay out.
MOST_ROWS = 500
# Seconds of waiting after which a line is printed, where rows are not redrawn.
LONG = 30.0

# Columns for what a terminal echoes at two Ctrl-C, "^C^C".
ECHO = 4

Rows = list[list[str]]


class Terminal:
    """Output of a command for the user.

    Attributes:
        progress: progress of the command's sweep, and what the command waits for.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        self._console = Console(stderr=stderr)
        self._is_terminal = stream.isatty()
        self.progress = SweepProgress()
        self._refusal = ""
        self._live: list[Callable[[], Rows]] = []
        self._writer = ThreadPoolExecutor(1, "terminal")

    @property
    def is_live(self) -> bool:
        """True if rows can be redrawn; otherwise only lines are printed."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def say(self, text: str) -> None:
        """Print a line without any markup."""
        self._print(text, markup=False, highlight=False, soft_wrap=True)

    def _print(self, content: str | Table, **options: Any) -> None:
        """Print from a thread of its own, where no signal interrupts it.

        Python handles signals in the main thread, and rich prints again what was interrupted.
        """
        print_ = functools.partial(self._console.print, content, **options)
        self._writer.submit(print_).result()

    def on_mlflow_state(self, why: str) -> None:
        """Print a line when MLflow stops taking results, and when it takes them again.

        Args:
            why: why it does not take them; "" when it does.
        """
        if bool(why) != bool(self._refusal):
            state = f"does not take results, which wait in the ledger: {why}"
            self.say(f"MLflow {state if why else 'takes results again.'}")
        self._refusal = why

    def table(
        self,
        header: list[str],
        rows: list[list[str]],
        *,
        left: int = 2,
        drop: Sequence[str] = (),
        rest: str = "",
    ) -> None:
        """Print a table; on a narrow terminal without some columns, which a line names.

        Args:
            header: names of the columns.
            rows: its rows; with `rest`, at most MOST_ROWS are printed.
            left: number of columns of text; the others hold numbers. Text wraps if it must.
            drop: columns to leave out first; after them the numbers, from the right.
            rest: where the user finds the rows that are not printed.
        """
        shown = rows[:MOST_ROWS] if rest else rows
        if self._is_terminal:
            self._fitted(header, shown, left, drop)
        else:
            self.say(as_text(header, shown, left))
        if len(rows) > len(shown):
            self.say(f"... and {len(rows) - len(shown)} more: {rest}")

    def _fitted(
        self, header: list[str], rows: list[list[str]], left: int, drop: Sequence[str]
    ) -> None:
        """Print the columns of a table that fit the terminal."""
        room = self._console.width
        kept = fitting_columns(header, rows, left=left, drop=drop, room=room)
        names, shown = [header[i] for i in kept], [[row[i] for i in kept] for row in rows]
        wraps = wrapping_columns(names, shown, room=room)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for i, name, wrap in zip(kept, names, wraps, strict=True):
            justify: JustifyMethod = "left" if i < left else "right"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=not wrap)
        for row in shown:
            table.add_row(*map(Text, row))
        self._print(table)
        if out := [name for name in header if name not in names]:
            self.say(f"Left out, as the terminal is narrow: {', '.join(out)}.")

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Print what happens next if the block is interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            self.say("Interrupted: what is finished is being written; once more leaves at once.")
            raise

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show what the command waits for, and for how long, while the block runs.

        Where rows are not redrawn, a line is printed after LONG seconds.
        """
        late = threading.Timer(LONG, lambda: self.say(f"{what}: {LONG:.0f} s so far"))
        late.daemon = True
        if not self.is_live:
            late.start()
        try:
            with self.progress.waiting(what), self.live_rows(list):
                yield
        finally:
            late.cancel()

    @contextlib.contextmanager
    def live_rows(self, rows: Callable[[], Rows]) -> Iterator[None]:
        """Show rows while the block runs, redrawn several times a second.

        A row of one cell is a line; the other rows are a table below the lines. The view also
        shows why MLflow does not take results, and what the command waits for. Blocks may be
        nested: the rows of all of them are shown.

        Args:
            rows: returns the current rows.
        """
        self._live.append(rows)
        try:
            if self.is_live and len(self._live) == 1:
                view = _Redrawn(self._content, self._console)
                with Live(view, console=self._console, transient=True):
                    yield
            else:
                yield
        finally:
            self._live.remove(rows)

    def _content(self) -> Group:
        lines = [f"MLflow does not take results: {self._refusal}"] if self._refusal else []
        table = Table.grid(padding=(0, 2))
        for row in (row for rows in list(self._live) for row in rows()):
            if len(row) == 1:
                lines += row
            else:
                table.add_row(*map(Text, row))
        for column in table.columns:
            column.overflow = "fold"  # or a long name would be cut
        if waits := self.progress.waiting_text():
            lines.append(waits)
        return Group(*map(Text, lines), table)


class _Redrawn:
    """Object that rich draws; its content is computed each time.

    It leaves columns free at the right, or the ^C that a terminal echoes would begin a new row, and
    rich would erase one row too few.
    """

    def __init__(self, content: Callable[[], Group], console: Console) -> None:
        self._content, self._console = content, console

    def __rich__(self) -> Constrain:
        return Constrain(self._content(), max(self._console.width - ECHO, 1))
