"""Live view of a sweep on a terminal, and a line for each trial that ends."""

import contextlib
import time
from collections.abc import Iterator

from sweeps.driver.progress import SweepProgress, duration
from sweeps.driver.terminal import Rows, Terminal
from sweeps.execution.events import Done, Failed, Message, Note, Stopped

# Number of running trials that are shown at once.
MOST_SHOWN = 8


class LiveView:
    """Shows the messages of workers to the user."""

    def __init__(self, terminal: Terminal, sweep: str) -> None:
        """Prepare; nothing is shown yet.

        Args:
            terminal: where to print; the caller passes each message to its `progress` first.
            sweep: the sweep's name, for the command that stops a trial.
        """
        self._terminal, self._sweep = terminal, sweep
        self._progress: SweepProgress = terminal.progress
        self._reported_stuck: set[str] = set()
        self._started = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the sweep's rows on a terminal while the block runs."""
        with self._terminal.live_rows(self.rows):
            yield

    def on_event(self, message: Message) -> None:
        """Print a line if the message is a note or the end of a trial."""
        if isinstance(message, Note):
            self._terminal.say(f"{self._progress.name(message.config_hash)}: {message.text}")
        elif isinstance(message, Done | Failed | Stopped):
            self._terminal.say(self._ending(message))

    def on_stuck(self, stuck: dict[str, int]) -> None:
        """Print a line, once, for each trial that makes no step; not if the view is live.

        Args:
            stuck: seconds since the last step, by config hash.
        """
        if self._terminal.is_live:
            return
        running = self._progress.running()
        for digest, seconds in stuck.items():
            if digest not in running or digest in self._reported_stuck:
                continue
            self._reported_stuck.add(digest)
            name, at = self._progress.name(digest), running[digest]
            place = f"step {at.step}/{at.steps}"
            self._terminal.say(f"{name}: {self._stuck(seconds, digest, f' ({place})')}")

    def rows(self) -> Rows:
        """Return a line on the sweep, and a row for each running trial."""
        progress, stuck = self._progress, self._progress.stuck()
        elapsed = f"{duration(time.monotonic() - self._started)} so far"
        line = "; ".join(filter(None, [progress.sentence(), elapsed, progress.speed()]))
        rows = [[line]]
        # Stuck trials come first; the others keep the order in which they began.
        running = sorted(progress.running().items(), key=lambda item: item[0] not in stuck)
        for digest, at in running[:MOST_SHOWN]:
            state = f"loss {at.loss:.3g}" if at.loss == at.loss else "first step"
            if digest in stuck:
                state = self._stuck(stuck[digest], digest)
            rows.append([f"  {progress.name(digest)}", f"step {at.step}/{at.steps}", state])
        return rows

    def _stuck(self, seconds: int, digest: str, place: str = "") -> str:
        stop = f"to stop it: sweeps stop {self._sweep} {digest[:12]}"
        return f"no step for {seconds} s{place}; {stop}"

    def _ending(self, message: Done | Failed | Stopped) -> str:
        """Return the line on a trial that has ended."""
        progress = self._progress
        digest = message.record.config_hash if isinstance(message, Done) else message.config_hash
        trial = f"[{progress.ended}/{progress.asked}] {progress.name(digest)}"
        if isinstance(message, Failed):
            return f"{trial}: failed: {message.error}"
        if isinstance(message, Stopped):
            return f"{trial}: {message}"
        rate = message.record.summary.get("rate/measured")
        shown = f", rate {rate:.4g}" if rate is not None else ""
        seconds = message.record.summary["time/seconds"]
        return f"{trial}: {message.record.status}{shown}, {seconds:.1f} s"
