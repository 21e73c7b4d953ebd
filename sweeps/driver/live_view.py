"""Live view of a sweep on a terminal, and a line for each trial that ends."""

import contextlib
import time
from collections.abc import Iterator

from sweeps.driver.progress import SweepProgress, duration
from sweeps.driver.terminal import Rows, Terminal
from sweeps.execution.events import Done, Failed, Message, Note, Stopped

# Trials shown at work at once.
SHOWN = 8


class LiveView:
    """Tells a person what the workers say.

    A sweep's picture is shown by `shown`; every message is told to `tell`.
    """

    def __init__(self, terminal: Terminal, sweep: str) -> None:
        """Show nothing yet.

        Args:
            terminal: where; its `progress` is told the messages by the caller first.
            sweep: the sweep's name, for the command that stops a trial.
        """
        self._terminal, self._sweep = terminal, sweep
        self._progress: SweepProgress = terminal.progress
        self._told: set[str] = set()
        self._started = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the picture while the block lasts, and say what is waited for."""
        with self._terminal.live_rows(self.rows):
            yield

    def on_event(self, message: Message) -> None:
        """Say what a worker said."""
        if isinstance(message, Note):
            self._terminal.say(f"{self._progress.name(message.config_hash)}: {message.text}")
        elif isinstance(message, Done | Failed | Stopped):
            self._terminal.say(self._line(message))

    def on_stuck(self, stuck: dict[str, int]) -> None:
        """Name the trials that make no step, each once, where there is no picture."""
        if self._terminal.is_live:
            return
        running = self._progress.running()
        for digest, seconds in stuck.items():
            if digest in running and digest not in self._told:
                self._told.add(digest)
                at = f"step {running[digest].step}/{running[digest].steps}"
                name = self._progress.name(digest)
                said = f"{name}: no step for {seconds} s ({at}); {self._how(digest)}"
                self._terminal.say(said)

    def rows(self) -> Rows:
        """The picture: how far the sweep is, and the trials under way."""
        progress, stuck = self._progress, self._progress.stuck()
        told = [progress.sentence(), f"{duration(time.monotonic() - self._started)} so far"]
        rows = [["; ".join(filter(None, [*told, progress.speed()]))]]
        # Those that make no step come first, the others in the order they began in.
        under_way = sorted(progress.running().items(), key=lambda one: one[0] not in stuck)
        for digest, at in under_way[:SHOWN]:
            said = f"loss {at.loss:.3g}" if at.loss == at.loss else "first step"
            if digest in stuck:
                said = f"no step for {stuck[digest]} s; {self._how(digest)}"
            rows.append([f"  {progress.name(digest)}", f"step {at.step}/{at.steps}", said])
        return rows

    def _how(self, digest: str) -> str:
        return f"to stop it: sweeps stop {self._sweep} {digest[:12]}"

    def _line(self, message: Done | Failed | Stopped) -> str:
        progress = self._progress
        digest = message.record.config_hash if isinstance(message, Done) else message.config_hash
        place = f"[{progress.ended}/{progress.asked}] {progress.name(digest)}"
        if isinstance(message, Failed):
            return f"{place}: failed: {message.error}"
        if isinstance(message, Stopped):
            return f"{place}: {message}"
        rate = message.record.summary.get("rate/measured")
        shown = f", rate {rate:.4g}" if rate is not None else ""
        seconds = message.record.summary["time/seconds"]
        return f"{place}: {message.record.status}{shown}, {seconds:.1f} s"
