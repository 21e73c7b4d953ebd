"""Progress of a sweep: counts, what is being waited for, and the time left by cost."""

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command shows what it waits for before it imports these
    from sweeps.execution.events import Message, Progress
    from sweeps.planning.plan import Plan

# Seconds in which a trial makes no step until it is named as stuck.
STUCK_AFTER = 60.0
# What is waited for while no worker has begun a trial.
WORKER = "waiting for a worker"
# Below this share of the work done, a rate says nothing yet.
LEAST_SHARE = 1e-6


class SweepProgress:
    """Counts and rates of a sweep's trials; told every message, read by any thread.

    Attributes:
        done, failed, stopped: trials that ended in this launch: with a result, without one,
            and by a person's request.
        reused: trials that had a result before this launch.
        total: the trials of the sweep that are known so far.
        asked, ended: how many trials are to be trained in this round, and have ended.
    """

    def __init__(self) -> None:
        """Nothing is planned yet."""
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

    def plan(self, planned: "Plan", reused: Collection[str]) -> None:
        """Take in the plan of the launch, or of a search's next round.

        Args:
            planned: the trials so far, and the packs that are to be trained now.
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
        """Take in what a worker said."""
        from sweeps.execution.events import Done, Failed, Progress, Stopped

        if isinstance(message, Progress):
            self._step(message)
        elif isinstance(message, Done):
            self.done += self._end(message.record.config_hash)
        elif isinstance(message, Failed):
            self.failed += self._end(message.config_hash)
        elif isinstance(message, Stopped):
            self.stopped += self._end(message.config_hash)

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Note what is being waited for while the block lasts."""
        self._waits.append((what, time.monotonic()))
        try:
            yield
        finally:
            self._waits.pop()

    def waiting_for(self) -> tuple[str, float] | None:
        """Name what is being waited for, and for how many seconds; None while trials train."""
        for what, since in self._waits[-1:]:
            return what, time.monotonic() - since
        if self._left and not self._running:
            return WORKER, time.monotonic() - self._idle
        return None

    def waiting_text(self) -> str:
        """Say what is being waited for, as "starting Ray 12 s"; empty while trials train."""
        found = self.waiting_for()
        return f"{found[0]} {found[1]:.0f} s" if found else ""

    def name(self, digest: str) -> str:
        """A trial's name."""
        return self._names.get(digest, digest[:12])

    def running(self) -> "dict[str, Progress]":
        """Latest progress of the trials under way, by config hash, in the order they began."""
        return dict(self._running)

    def stuck(self) -> dict[str, int]:
        """The trials that have made no step for long, and for how many seconds."""
        now = time.monotonic()
        since = {digest: int(now - self._stepped[digest]) for digest in list(self._running)}
        return {digest: seconds for digest, seconds in since.items() if seconds >= STUCK_AFTER}

    def share(self) -> float:
        """The share of this launch's planned work that is done, by cost."""
        whole = self._work_done + sum(list(self._left.values()))
        done = self._work_done + self._under_way()
        return done / whole if whole else 1.0

    def rate(self) -> float:
        """Share of this launch's planned work a second; 0 until there is any."""
        elapsed = time.monotonic() - self._begun
        return self.share() / elapsed if self._begun and elapsed > 0 else 0.0

    def seconds_left(self) -> float | None:
        """Seconds until the planned work is done at the rate so far; None until there is one."""
        share = self.share()
        if share < LEAST_SHARE or not self._begun:
            return None
        return (time.monotonic() - self._begun) * (1 - share) / share

    def sentence(self) -> str:
        """Counts and the time left: "12 done, 2 running, 0 failed, 3 reused of 40; ..."."""
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
        """The work done and its rate, as "31 % of the work, 2.4 % a minute"; empty at first."""
        if not self._left or self.share() < LEAST_SHARE or not self._begun:
            return ""
        return f"{100 * self.share():.0f} % of the work, {6000 * self.rate():.2g} % a minute"

    def _step(self, at: "Progress") -> None:
        digest, now = at.config_hash, time.monotonic()
        if digest not in self._left:  # it has ended: a pack that is tried again says it anew
            return
        self._begun = self._begun or now
        before = self._running.get(digest)
        if before is None or before.step != at.step:
            self._stepped[digest] = now
        # What a checkpoint brought along is no work of this launch.
        first = self._first.setdefault(digest, at.step / at.steps)
        self._left[digest] = self._costs[digest] * max(1 - first, 0.0)
        self._running[digest] = at

    def _end(self, digest: str) -> int:
        """Note that a trial has ended: its work is done, however early. 1 for the count."""
        self.ended += 1
        self._running.pop(digest, None)
        self._begun = self._begun or time.monotonic()
        self._work_done += self._left.pop(digest, 0.0)
        if not self._running:
            self._idle = time.monotonic()
        return 1

    def _under_way(self) -> float:
        """The work done of the trials that are training."""
        done = 0.0
        for digest, at in self.running().items():
            first = self._first.get(digest, 0.0)
            done += self._costs[digest] * max(at.step / at.steps - first, 0.0)
        return done


def duration(seconds: float) -> str:
    """A time as a person says it: 45 s, 25 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"
