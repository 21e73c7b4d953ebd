"""Requests to stop a sweep or some of its trials, as files in the sweep's folder.

`sweeps stop` writes them, on any machine that shares the output root; the driver and the
workers look for them. Each is one file, written whole and then renamed, so that two commands
that write at once lose nothing.
"""

import contextlib
import getpass
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = "stop"
# The name of a request that is for the whole sweep; others have a trial's config hash.
SWEEP = "sweep"
# How the reason begins why a trial has no result that a person stopped.
STOPPED_BY = "stopped by"
# Seconds from one look at the folder to the next.
EVERY = 1.0
# A pack that is to end and does not look for so many seconds hangs, unless it ever took one
# part in so many of that time for a step.
HANGS_AFTER, PARTS = 10.0, 3
# Characters of a person's name that are kept.
MOST_LETTERS = 100


@dataclass(frozen=True)
class StopRequest:
    """Why a trial, or a whole sweep, is to end.

    Attributes:
        by: the person who asked; empty where its time is over.
        seconds: after how many seconds its time was over; 0 where a person asked.
    """

    by: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class StopRequests:
    """The requests of one sweep, as its driver, its workers and other commands see them.

    Attributes:
        folder: theirs, absolute, on storage that all nodes share.
        timeout: seconds that a trial may train; 0: any.
    """

    folder: Path
    timeout: float = 0.0

    @classmethod
    def of(cls, sweep_folder: Path, timeout: float = 0.0) -> "StopRequests":
        """Requests that lie in a sweep's folder."""
        return cls(sweep_folder.resolve() / FOLDER, timeout)

    def write(self, name: str, request: StopRequest) -> None:
        """Ask for SWEEP, or a trial by its config hash, to end.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".{name}.{socket.gethostname()}.{os.getpid()}"
        beside.write_text(json.dumps(asdict(request)))
        beside.replace(self.folder / f"{name}.json")

    def read(self) -> dict[str, StopRequest]:
        """All requests, by name."""
        return {path.stem: _read(path) for path in self.folder.glob("*.json")}

    def clear(self) -> None:
        """Remove what was asked of an earlier launch."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class PendingStops:
    """Requests that concern a pack.

    Attributes:
        sweep: why the whole sweep is to end; None where it is not.
        trials: why trials of the pack are to end, by config hash.
    """

    sweep: StopRequest | None = None
    trials: dict[str, StopRequest] = field(default_factory=dict)


class Guard:
    """Looks for what is asked of the trials that one worker trains, between two GD steps.

    Attributes:
        timeout: seconds that they may train; 0: any.
    """

    def __init__(self, requests: StopRequests | None = None) -> None:
        """Nothing is training yet; without requests nothing is ever asked."""
        self._requests = requests
        self.timeout = requests.timeout if requests else 0.0
        self._pending: set[str] = set()
        self._begun = self._looked = self._read_at = time.monotonic()
        self._found = requests.read() if requests else {}
        self._longest = 0.0

    def begin(self, hashes: Collection[str]) -> None:
        """These trials begin to train together now; their time counts from here."""
        self._pending = set(hashes)
        self._begun = self._looked = time.monotonic()
        self._longest = 0.0

    def ended(self, digest: str) -> None:
        """Note that a trial has ended by itself."""
        self._pending.discard(digest)

    def look(self) -> PendingStops:
        """Look for requests, in the thread that trains."""
        before, self._looked = self._looked, time.monotonic()
        self._longest = max(self._longest, self._looked - before)
        return self.asked()

    def asked(self) -> PendingStops:
        """Requests that concern the trials that train."""
        now, pending = time.monotonic(), set(self._pending)
        if self._requests and now - self._read_at >= EVERY:
            self._read_at, self._found = now, self._requests.read()
        over = {}
        if 0 < self.timeout <= now - self._begun:
            over = dict.fromkeys(pending, StopRequest(seconds=now - self._begun))
        return PendingStops(self._found.get(SWEEP), over | self.of(pending))

    def of(self, hashes: Collection[str]) -> dict[str, StopRequest]:
        """The requests for some trials, as last read."""
        return {digest: self._found[digest] for digest in hashes if digest in self._found}

    def hangs(self) -> bool:
        """Whether trials are to end and their thread has not looked for long."""
        asked = self.asked()
        if not self._pending or not (asked.sweep or asked.trials):
            return False
        return time.monotonic() - self._looked >= max(HANGS_AFTER, PARTS * self._longest)

    def save_timeouts(self) -> None:
        """Write down whose time is over, for whoever takes this worker's place."""
        for digest, why in self.asked().trials.items():
            if self._requests and not why.by:
                with contextlib.suppress(OSError):
                    self._requests.write(digest, why)


class Watchdog:
    """Calls a function, in a thread of its own, where a guarded pack hangs and is to end.

    A context manager.
    """

    def __init__(self, guard: Guard, end: Callable[[], None]) -> None:
        """Watch a guard; `end` ends the process that trains."""
        self._guard, self._end = guard, end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._stop.set()

    def _work(self) -> None:
        while not self._stop.wait(EVERY):
            if not self._guard.hangs():
                continue
            self._guard.save_timeouts()
            self._end()
            return


def current_user() -> str:
    """Who runs this command, and where."""
    user = "somebody"
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in a container
        user = getpass.getuser()
    return f"{user} on {socket.gethostname()}"


def _read(path: Path) -> StopRequest:
    """A request; one that cannot be read was made all the same."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(path.read_text())
        by = "".join(letter for letter in str(found["by"]) if letter.isprintable())
        return StopRequest(by[:MOST_LETTERS], float(found["seconds"]))
    return StopRequest("somebody")
