"""Progress of a sweep: counts, what is being waited for, and the time left by cost."""

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from sweeps.config.texts import percent

if TYPE_CHECKING:  # a command shows a waiting text before it imports these
    from sweeps.execution.events import Message, Progress
    from sweeps.planning.plan import Plan

# Seconds without a step after which a trial counts as stuck.
STUCK_AFTER = 60.0
# Text to show while no worker has begun a trial.
FOR_WORKER = "waiting for a worker"
# Share of the work that must be done before a rate is shown.
LEAST_SHARE = 1e-6
# Seconds of training before a rate is shown.
LEAST_TIME = 5.0
# A rate is shown if the rates so far and lately differ by this factor at most.
MOST_FACTOR = 2.0


class SweepProgress:
    """Counts and rates of a sweep's trials. One thread writes it, any thread may read it.

    Attributes:
        done, failed, stopped: number of trials that ended in this launch with a result, with
            an error, and by a person's request.
        reused: number of trials that had a result before this launch.
        total: number of trials of the sweep so far.
        asked, ended: number of trials of this round, and of those that have ended.
    """

    def __init__(self) -> None:
        """Begin with no trials."""
        self.done = self.failed = self.stopped = self.reused = self.total = 0
        self.asked = self.ended = 0
        self._waits: list[tuple[str, float]] = []
        self._names: dict[str, str] = {}
        self._costs: dict[str, float] = {}
        self._left: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._running: dict[str, Progress] = {}
        self._stepped: dict[str, float] = {}
        self._work_done, self._begun, self._idle = 0.0, 0.0, time.monotonic()
        # Work that checkpoints brought along.
        self._brought = 0.0
        # (seconds, work) at two moments, the earlier one at half of the time so far or before.
        self._marks = ((0.0, 0.0), (0.0, 0.0))

    def plan(self, planned: "Plan", reused: Collection[str]) -> None:
        """Begin a round.

        Args:
            planned: the trials so far, and the packs of this round.
            reused: config hashes of the trials that had a result before this launch.
        """
        from sweeps.planning.plan import cost

        packs = [trial for pack in planned.packs for trial in pack]
        self._names = {trial.config_hash: trial.name for trial in planned.trials}
        self._costs |= {trial.config_hash: cost(trial.plain) for trial in packs}
        self._left = {trial.config_hash: self._costs[trial.config_hash] for trial in packs}
        self.total, self.reused = len(planned.trials), len(reused)
        self.asked, self.ended = len(packs), 0
        self._idle = time.monotonic()

    def on_event(self, message: "Message") -> None:
        """Update the counts and the steps by a worker's message."""
        from sweeps.execution.events import Done, Failed, Progress, Stopped

        if isinstance(message, Progress):
            self._step(message)
        elif isinstance(message, Done):
            self.done += self._end(message.record.config_hash)
        elif isinstance(message, Failed):
            self.failed += self._end(message.config_hash)
        elif isinstance(message, Stopped):
            self.stopped += self._end(message.config_hash, message.step, message.steps)

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Set what the command waits for while the block runs."""
        self._waits.append((what, time.monotonic()))
        try:
            yield
        finally:
            self._waits.pop()

    def waiting_for(self) -> tuple[str, float] | None:
        """Return what the command waits for and for how many seconds; None while trials train."""
        for what, since in self._waits[-1:]:
            return what, time.monotonic() - since
        if self._left and not self._running:
            return FOR_WORKER, time.monotonic() - self._idle
        return None

    def waiting_text(self) -> str:
        """Return what the command waits for, as "starting Ray 12 s"; "" while trials train."""
        wait = self.waiting_for()
        return f"{wait[0]} {wait[1]:.0f} s" if wait else ""

    def name(self, digest: str) -> str:
        """Return a trial's name; the beginning of its hash if it has none."""
        return self._names.get(digest, digest[:12])

    def running(self) -> "dict[str, Progress]":
        """Return the latest step of each running trial by config hash, in the order they began."""
        return dict(self._running)

    def stuck(self) -> dict[str, int]:
        """Return the seconds since the last step of each stuck trial, by config hash."""
        now = time.monotonic()
        since = {digest: int(now - self._stepped[digest]) for digest in list(self._running)}
        return {digest: seconds for digest, seconds in since.items() if seconds >= STUCK_AFTER}

    def share(self) -> float:
        """Return the share of this launch's trials that is done, by cost; with checkpoints."""
        done = self._work_done + self._under_way() + self._brought
        return done / self._whole() if self._whole() else 1.0

    def rate(self) -> float | None:
        """Return the share that is done per second; None until it is known to a factor of 2."""
        seconds, work = self._elapsed(), self._work_done + self._under_way()
        if seconds < LEAST_TIME or work < LEAST_SHARE * self._whole():
            return None
        before, work_before = self._marks[0]
        so_far, lately = work / seconds, (work - work_before) / (seconds - before)
        if not so_far / MOST_FACTOR <= lately <= so_far * MOST_FACTOR:
            return None
        return so_far / self._whole()

    def seconds_left(self) -> float | None:
        """Return the seconds until the planned work is done; None until the rate is known."""
        rate = self.rate()
        return None if rate is None else (1 - self.share()) / rate

    def sentence(self) -> str:
        """Return counts and the time left: "12 done, 2 running, 0 failed, 3 reused of 40; ..."."""
        stopped = f"{self.stopped} stopped, " if self.stopped else ""
        counts = (
            f"{self.done} done, {len(self._running)} running, {self.failed} failed, "
            f"{stopped}{self.reused} reused of {self.total}"
        )
        left = self.seconds_left()
        if not self._left:
            return counts
        return f"{counts}; about {duration(left)} left" if left is not None else counts

    def speed(self) -> str:
        """Return the work done and its rate, "31 % of the work, 2.4 % a minute"; "" at first."""
        if not self._left or self.share() < LEAST_SHARE:
            return ""
        share, rate = f"{100 * self.share():.0f} % of the work", self.rate()
        return share if rate is None else f"{share}, {percent(6000 * rate)} % a minute"

    def _step(self, at: "Progress") -> None:
        digest, now = at.config_hash, time.monotonic()
        if digest not in self._left:  # it has ended: a pack that is retried repeats its messages
            return
        self._begun = self._begun or now
        before = self._running.get(digest)
        if before is None or before.step != at.step:
            self._stepped[digest] = now
        # Steps that came with a checkpoint are not work of this launch.
        if digest not in self._first:
            self._first[digest] = at.step / at.steps
            self._brought += self._costs[digest] * min(self._first[digest], 1.0)
        self._left[digest] = self._costs[digest] * max(1 - self._first[digest], 0.0)
        self._running[digest] = at
        self._mark()

    def _end(self, digest: str, step: int = 1, steps: int = 1) -> int:
        """End a trial at a step of its budget. Return 1, for the caller's count.

        The work that it has done counts for the speed, and none of it is left.
        """
        self.ended += 1
        self._running.pop(digest, None)
        self._begun = self._begun or time.monotonic()
        if self._left.pop(digest, None) is not None:
            self._work_done += self._work(digest, step, steps)
        self._mark()
        if not self._running:
            self._idle = time.monotonic()
        return 1

    def _mark(self) -> None:
        """Keep the time and the work, each time that the time has doubled."""
        seconds = self._elapsed()
        if seconds >= max(2 * self._marks[1][0], LEAST_TIME / 2):
            self._marks = (self._marks[1], (seconds, self._work_done + self._under_way()))

    def _elapsed(self) -> float:
        """Return the seconds since the first trial began; 0 before."""
        return time.monotonic() - self._begun if self._begun else 0.0

    def _whole(self) -> float:
        """Return the work of this launch's trials, with what checkpoints brought along."""
        return self._work_done + self._brought + sum(list(self._left.values()))

    def _under_way(self) -> float:
        """Return the work that the running trials have done."""
        return sum(self._work(h, at.step, at.steps) for h, at in self.running().items())

    def _work(self, digest: str, step: int, steps: int) -> float:
        """Return the work of a trial up to a step, without what its checkpoint brought along."""
        first = self._first.get(digest, 0.0)
        return self._costs[digest] * max(step / steps - first, 0.0) if steps else 0.0


def duration(seconds: float) -> str:
    """Return a time in a readable unit: 45 s, 25 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"
