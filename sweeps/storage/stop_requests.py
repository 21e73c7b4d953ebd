"""Requests to stop a sweep or some of its trials, as files in the sweep's folder.

`sweeps stop` writes them on any machine that shares the output root; the driver and the
workers poll the folder. Each request is a file of its own, renamed into place, so that
several commands can write at the same time.
"""

import contextlib
import getpass
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeps.storage.whole_files import write_json

FOLDER = "stop"
# Name of a request to stop the whole sweep; other names are config hashes.
SWEEP = "sweep"
# Beginning of the error of a trial that a person stopped.
STOPPED_BY = "stopped by"
# Seconds between two polls of the folder.
EVERY = 1.0
# A pack that is to end hangs when it has not polled for so many seconds, and for three times
# the longest time between two of its polls.
HANGS_AFTER, LONGEST_POLLS = 10.0, 3
# Longest name of a person, in characters.
MOST_LETTERS = 100


@dataclass(frozen=True)
class StopRequest:
    """Reason to stop a trial or a whole sweep.

    Attributes:
        by: the person who stopped it; empty for a timeout.
        seconds: training time at the timeout; 0 where a person stopped it.
    """

    by: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class StopRequests:
    """Stop requests of one sweep.

    Attributes:
        folder: holds the requests; absolute, on storage that all nodes share.
        timeout: seconds that a trial may train; 0 for no limit.
    """

    folder: Path
    timeout: float = 0.0

    @classmethod
    def of(cls, sweep_folder: Path, timeout: float = 0.0) -> "StopRequests":
        """Requests in a sweep's folder."""
        return cls(sweep_folder.resolve() / FOLDER, timeout)

    def write(self, name: str, request: StopRequest) -> None:
        """Write a request to stop SWEEP, or a trial by its config hash.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / f"{name}.json", asdict(request))

    def read(self) -> dict[str, StopRequest]:
        """All requests, by name."""
        return {path.stem: _read(path) for path in self.folder.glob("*.json")}

    def of_sweep(self) -> StopRequest | None:
        """The request to stop the whole sweep; None without one."""
        return self.read().get(SWEEP)

    def clear(self) -> None:
        """Remove the requests of an earlier launch."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class PendingStops:
    """Stop requests that concern a pack.

    Attributes:
        sweep: request to stop the whole sweep, if any.
        trials: requests to stop trials of the pack, by config hash.
    """

    sweep: StopRequest | None = None
    trials: dict[str, StopRequest] = field(default_factory=dict)


class Guard:
    """Polls the stop requests for the trials that one worker trains.

    Attributes:
        timeout: seconds that they may train; 0 for no limit.
    """

    def __init__(self, requests: StopRequests | None = None) -> None:
        """Guard no trials yet; without `requests` no trial is ever stopped."""
        self._requests = requests
        self.timeout = requests.timeout if requests else 0.0
        self._training: set[str] = set()
        self._started = self._polled = self._read_at = time.monotonic()
        self._read = requests.read() if requests else {}
        self._longest = 0.0

    def start(self, hashes: Collection[str]) -> None:
        """Start the clock of these trials, which begin to train now."""
        self._training = set(hashes)
        self._started = self._polled = time.monotonic()
        self._longest = 0.0

    def trial_ended(self, digest: str) -> None:
        """Stop guarding a trial that has ended."""
        self._training.discard(digest)

    def poll(self) -> PendingStops:
        """Requests that concern the trials; called by the thread that trains, between GD steps."""
        before, self._polled = self._polled, time.monotonic()
        self._longest = max(self._longest, self._polled - before)
        return self.pending()

    def pending(self) -> PendingStops:
        """Requests that concern the trials that train, timeouts included."""
        now, training = time.monotonic(), set(self._training)
        if self._requests and now - self._read_at >= EVERY:
            self._read_at, self._read = now, self._requests.read()
        timeouts = {}
        if 0 < self.timeout <= now - self._started:
            timeouts = dict.fromkeys(training, StopRequest(seconds=now - self._started))
        return PendingStops(self._read.get(SWEEP), timeouts | self.of(training))

    def of(self, hashes: Collection[str]) -> dict[str, StopRequest]:
        """Requests for these trials, as last read."""
        return {digest: self._read[digest] for digest in hashes if digest in self._read}

    def hangs(self) -> bool:
        """Return whether trials are to end and their thread has stopped polling."""
        stops = self.pending()
        if not self._training or not (stops.sweep or stops.trials):
            return False
        return time.monotonic() - self._polled >= max(HANGS_AFTER, LONGEST_POLLS * self._longest)

    def save_timeouts(self) -> None:
        """Write a request for each trial that timed out: the next worker must not train it."""
        for digest, request in self.pending().trials.items():
            if self._requests and not request.by:
                with contextlib.suppress(OSError):
                    self._requests.write(digest, request)


class Watchdog:
    """Context manager whose thread calls a function when a pack hangs that is to end."""

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
    """The user who runs this command, and the host."""
    user = "somebody"
    with contextlib.suppress(KeyError, OSError):  # a user without a name, as in a container
        user = getpass.getuser()
    return f"{user} on {socket.gethostname()}"


def _read(path: Path) -> StopRequest:
    """Read a request; a damaged file counts as a request by somebody."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        fields = json.loads(path.read_text())
        by = "".join(letter for letter in str(fields["by"]) if letter.isprintable())
        return StopRequest(by[:MOST_LETTERS], float(fields["seconds"]))
    return StopRequest("somebody")
