"""Progress: one live view on a terminal, plain lines otherwise."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sweeps.plan import Plan
from sweeps.trial import Done, Failed, Message, Progress

# Trials shown at work at once.
SHOWN = 8


class View:
    """What a sweep is doing; a context manager that is told every message."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._names = {trial.config_hash: trial.name for trial in plan.trials}
        self._running: dict[str, Progress] = {}
        self._done = self._failed = 0
        self._left = len(plan.trials) - plan.reused
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
        else:
            digest = (
                message.record.config_hash if isinstance(message, Done) else message.config_hash
            )
            self._running.pop(digest, None)
            self._done += isinstance(message, Done)
            self._failed += isinstance(message, Failed)
            self._console.print(self._line(digest, message), highlight=False, soft_wrap=True)
        if self._console.is_terminal:
            self._live.update(self._picture())

    def _line(self, digest: str, message: Done | Failed) -> str:
        place = f"[{self._done + self._failed}/{self._left}] {self._names.get(digest, digest[:12])}"
        if isinstance(message, Failed):
            return f"{place}: failed: {message.error}".replace("[", r"\[")
        rate = message.record.summary.get("rate/measured")
        shown = f", rate {rate:.4g}" if rate is not None else ""
        seconds = message.record.summary["time/seconds"]
        return f"{place}: {message.record.status}{shown}, {seconds:.1f} s".replace("[", r"\[")

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 2))
        ended = self._done + self._failed
        elapsed = time.monotonic() - self._started
        eta = f"{elapsed / ended * (self._left - ended):.0f} s left" if ended else "starting"
        table.add_row(
            f"{self._done} done, {self._failed} failed, {self._plan.reused} reused of "
            f"{len(self._plan.trials)}; {elapsed:.0f} s, {eta}"
        )
        for digest, at in list(self._running.items())[:SHOWN]:
            name = self._names.get(digest, digest[:12])
            table.add_row(f"  {name}", f"step {at.step}/{at.steps}", f"loss {at.loss:.3g}")
        return table
