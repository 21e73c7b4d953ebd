"""What a driver is doing this minute, for `sweeps status`: a small file beside the report.

The ledger holds what is finished. This says what is under way, and that someone is at work.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeps.messages import Done, Failed, Message, Progress
from sweeps.root_lock import is_held

NAME = "running.json"
# Seconds between two beats, and after which a driver that does not beat is taken for dead.
EVERY, DEAD_AFTER = 2.0, 20.0
# Seconds after which a trial that says nothing is named; it says something twice a second.
SILENT_AFTER = 60.0


@dataclass(frozen=True)
class Beat:
    """A driver's word that it is at work.

    Attributes:
        at: seconds since the epoch.
        host, pid: of the driver.
        running: step and steps of the trials under way, by config hash.
        silent: for how many seconds nothing was heard of a trial, of those that is long of.
    """

    at: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    running: dict[str, list[int]] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)


class Pulse:
    """Beats while its block lasts; a context manager that is told every message."""

    def __init__(self, folder: Path, on_silence: Callable[[dict[str, int]], None]) -> None:
        """Beat into a sweep's folder.

        Args:
            folder: the sweep's.
            on_silence: is told at every beat of which trials nothing was heard for long, by
                config hash, and for how many seconds; called in a thread of its own.
        """
        self._path, self._on_silence = folder / NAME, on_silence
        self._running: dict[str, list[int]] = {}
        self._heard: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def tell(self, message: Message) -> None:
        """Take in what a worker said."""
        if isinstance(message, Progress):
            self._heard[message.config_hash] = time.monotonic()
            self._running[message.config_hash] = [message.step, message.steps]
        elif isinstance(message, Done):
            self._running.pop(message.record.config_hash, None)
        elif isinstance(message, Failed):
            self._running.pop(message.config_hash, None)

    def _work(self) -> None:
        beside = self._path.with_suffix(".new")
        while True:
            running, silent = dict(self._running), self._silent()
            # A full disk must not end a sweep for want of a pulse.
            with contextlib.suppress(OSError):
                text = json.dumps(asdict(Beat(time.time(), running=running, silent=silent)))
                beside.write_text(text)
                beside.replace(self._path)
            with contextlib.suppress(OSError):  # nor a stream that takes nothing
                self._on_silence(silent)
            if self._stop.wait(EVERY):
                return

    def _silent(self) -> dict[str, int]:
        """The trials under way of which nothing was heard for long, and for how many seconds."""
        now = time.monotonic()
        since = {digest: int(now - self._heard[digest]) for digest in list(self._running)}
        return {digest: seconds for digest, seconds in since.items() if seconds >= SILENT_AFTER}


def last_beat(folder: Path) -> Beat | None:
    """The word of the driver that is at work on a sweep; None when none is.

    A driver of this machine is looked for, another's clock must do.
    """
    try:
        found = json.loads((folder / NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not _is_beat(found):
        return None
    beat = Beat(**found)
    if beat.host == socket.gethostname():
        return beat if _exists(beat.pid) and is_held(folder.parent.parent) else None
    return beat if time.time() - beat.at < DEAD_AFTER else None


def _exists(pid: int) -> bool:
    """Whether a process of this machine is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _is_beat(found: object) -> bool:
    """Whether what a file holds are the fields of a Beat, each of its type."""
    kinds: dict[str, type] = {"at": float, "host": str, "pid": int, "running": dict, "silent": dict}
    return (
        isinstance(found, dict)
        and found.keys() == kinds.keys()
        and all(isinstance(found[name], kind) for name, kind in kinds.items())
        and all(_is_step(steps) for steps in found["running"].values())
        and all(isinstance(seconds, int) for seconds in found["silent"].values())
    )


def _is_step(found: object) -> bool:
    """Whether it is a trial's step and its number of steps."""
    return isinstance(found, list) and len(found) == 2 and all(isinstance(n, int) for n in found)
