"""The door to rich: lines, tables, and a picture that redraws itself while a command works."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.driver.progress import SweepProgress

# A table's width where no terminal says one.
WIDTH = 140
# Rows of a table; more are too many to read, and take seconds to set.
ROWS = 500
# Seconds after which it is said in a line what is waited for, where no picture shows it.
LONG = 30.0

Rows = list[list[str]]


class Terminal:
    """Output of a command for a person.

    Attributes:
        progress: how far the sweep is that the command works on, and what it waits for.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        self._console = Console(stderr=stderr, width=None if stream.isatty() else WIDTH)
        self.progress = SweepProgress()
        self._away = ""
        self._pictures: list[Callable[[], Rows]] = []

    @property
    def is_live(self) -> bool:
        """Whether there is a picture that redraws itself; otherwise lines must do."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def say(self, text: str) -> None:
        """One line, as it stands."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_mlflow_state(self, why: str) -> None:
        """Say once that MLflow does not take results, and why; "" once that it does again."""
        if bool(why) != bool(self._away):
            said = f"does not take results, which wait in the ledger: {why}"
            self.say(f"MLflow {said if why else 'takes results again.'}")
        self._away = why

    def table(
        self, header: list[str], rows: list[list[str]], *, left: int = 2, rest: str = ""
    ) -> None:
        """A table whose first `left` columns hold words and whose others hold numbers.

        At most ROWS rows of it where `rest` says where the others are.
        """
        most = ROWS if rest else len(rows)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for i, name in enumerate(header):
            table.add_column(name, justify="left" if i < left else "right", no_wrap=True)
        for row in rows[:most]:
            table.add_row(*row)
        self._console.print(table)
        if len(rows) > most:
            self.say(f"... and {len(rows) - most} more: {rest}")

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Say what becomes of an interruption of this block."""
        try:
            yield
        except KeyboardInterrupt:
            self.say("Interrupted: what is finished is being written; once more leaves at once.")
            raise

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show what is waited for, and for how long, while the block lasts.

        Without a picture it is said in a line where it takes long.
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
        """Show these rows while the block lasts, drawn anew several times a second.

        A row of one cell is a line; the others are a table below the lines. Shown besides is
        why MLflow does not take results, and what is waited for. A picture within another is
        added to it.
        """
        self._pictures.append(rows)
        try:
            if self.is_live and len(self._pictures) == 1:
                with Live(_Picture(self._drawn), console=self._console, transient=True):
                    yield
            else:
                yield
        finally:
            self._pictures.remove(rows)

    def _drawn(self) -> Group:
        lines = [f"MLflow does not take results: {self._away}"] if self._away else []
        table = Table.grid(padding=(0, 2))
        for row in (row for rows in list(self._pictures) for row in rows()):
            if len(row) == 1:
                lines += row
            else:
                table.add_row(*map(Text, row))
        if waits := self.progress.waiting_text():
            lines.append(waits)
        return Group(*map(Text, lines), table)


class _Picture:
    """Table for rich to draw; it is computed each time."""

    def __init__(self, drawn: Callable[[], Group]) -> None:
        self._drawn = drawn

    def __rich__(self) -> Group:
        return self._drawn()
