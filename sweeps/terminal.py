"""The door to rich: lines, tables, and the live view of a sweep."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.messages import Done, Failed, Message, Note, Progress
from sweeps.planning import Plan

# Trials shown at work at once.
SHOWN = 8
# A table's width where no terminal says one.
WIDTH = 140
# Rows of a table; more are too many to read, and take seconds to set.
ROWS = 500


class Terminal:
    """Where a command speaks to a person."""

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        self._console = Console(stderr=stderr, width=None if stream.isatty() else WIDTH)
        self._away = ""

    def say(self, text: str) -> None:
        """One line, as it stands."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def mlflow(self, why: str) -> None:
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

    def watch(self, plan: Plan) -> "View":
        """A live view of a sweep."""
        return View(plan, self._console, lambda: self._away)


class View:
    """What a sweep is doing: one live picture on a terminal, plain lines otherwise.

    A context manager that is told every message.
    """

    def __init__(self, plan: Plan, console: Console, away: Callable[[], str]) -> None:
        """Show a plan; `away` says why MLflow does not take results, "" while it does."""
        self._plan, self._console, self._away = plan, console, away
        self._names = {trial.config_hash: trial.name for trial in plan.trials}
        self._running: dict[str, Progress] = {}
        self._silent: dict[str, int] = {}
        self._told: set[str] = set()
        self._done = self._failed = 0
        self._started = time.monotonic()
        self._live = Live(self._picture(), console=console, transient=True)

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def tell(self, message: Message) -> None:
        """Take in what a worker said."""
        if isinstance(message, Progress):
            self._running[message.config_hash] = message
        elif isinstance(message, Note):
            self._print(f"{self._name(message.config_hash)}: {message.text}")
        elif isinstance(message, Done | Failed):
            digest = (
                message.record.config_hash if isinstance(message, Done) else message.config_hash
            )
            self._running.pop(digest, None)
            self._done += isinstance(message, Done)
            self._failed += isinstance(message, Failed)
            self._print(self._line(digest, message))
        if self._console.is_terminal:
            self._live.update(self._picture())

    def on_silence(self, silent: dict[str, int]) -> None:
        """Name the trials of which nothing was heard for so many seconds.

        In the live picture; where there is none, each once, in a line.
        """
        self._silent = silent
        if self._console.is_terminal:
            self._live.update(self._picture())
            return
        for digest, seconds in silent.items():
            at = self._running.get(digest)
            if at and digest not in self._told:
                self._told.add(digest)
                step = f"step {at.step}/{at.steps}"
                self._print(f"{self._name(digest)}: nothing heard for {seconds} s ({step})")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _name(self, digest: str) -> str:
        return self._names.get(digest, digest[:12])

    def _line(self, digest: str, message: Done | Failed) -> str:
        ended = self._done + self._failed
        place = f"[{ended}/{self._plan.left}] {self._name(digest)}"
        if isinstance(message, Failed):
            return f"{place}: failed: {message.error}"
        rate = message.record.summary.get("rate/measured")
        shown = f", rate {rate:.4g}" if rate is not None else ""
        seconds = message.record.summary["time/seconds"]
        return f"{place}: {message.record.status}{shown}, {seconds:.1f} s"

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 2))
        if away := self._away():
            table.add_row(Text(f"MLflow does not take results: {away}"))
        ended, left = self._done + self._failed, self._plan.left
        elapsed = time.monotonic() - self._started
        eta = f"about {elapsed / ended * (left - ended):.0f} s left" if ended else "starting"
        table.add_row(
            f"{self._done} done, {len(self._running)} running, {self._failed} failed, "
            f"{len(self._plan.finished)} reused of {len(self._plan.trials)}; "
            f"{elapsed:.0f} s, {eta}"
        )
        # Those that say nothing come first, the others in the order they began in.
        under_way = sorted(self._running.copy().items(), key=lambda one: one[0] not in self._silent)
        for digest, at in under_way[:SHOWN]:
            heard = f"loss {at.loss:.3g}"
            if digest in self._silent:
                heard = f"nothing heard for {self._silent[digest]} s"
            table.add_row(f"  {self._name(digest)}", f"step {at.step}/{at.steps}", heard)
        return table
