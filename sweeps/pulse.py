"""What a driver is doing this minute, for `sweeps status`: a small file beside the report.

The ledger holds what is finished. This says what is under way, and that someone is at work.
"""

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeps.trial import Done, Failed, Message, Progress

NAME = "running.json"
# Seconds between two beats, and after which a driver that does not beat is taken for dead.
EVERY, DEAD_AFTER = 2.0, 20.0


@dataclass(frozen=True)
class Beat:
    """A driver's word that it is at work.

    Attributes:
        at: seconds since the epoch.
        host, pid: of the driver.
        running: step and steps of the trials under way, by config hash.
    """

    at: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    running: dict[str, list[int]] = field(default_factory=dict)


class Pulse:
    """Beats while its block lasts; a context manager that is told every message."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._running: dict[str, list[int]] = {}
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
            self._running[message.config_hash] = [message.step, message.steps]
        elif isinstance(message, Done):
            self._running.pop(message.record.config_hash, None)
        elif isinstance(message, Failed):
            self._running.pop(message.config_hash, None)

    def _work(self) -> None:
        beside = self._path.with_suffix(".new")
        while True:
            # A full disk must not end a sweep for want of a pulse.
            with contextlib.suppress(OSError):
                text = json.dumps(asdict(Beat(time.time(), running=dict(self._running))))
                beside.write_text(text)
                beside.replace(self._path)
            if self._stop.wait(EVERY):
                return


def last_beat(folder: Path) -> Beat | None:
    """The word of the driver that is at work on a sweep; None when none is."""
    try:
        found = json.loads((folder / NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not _is_beat(found):
        return None
    return Beat(**found) if time.time() - found["at"] < DEAD_AFTER else None


def _is_beat(found: object) -> bool:
    """Whether what a file holds are the fields of a Beat, each of its type."""
    kinds: dict[str, type] = {"at": float, "host": str, "pid": int, "running": dict}
    return (
        isinstance(found, dict)
        and found.keys() == kinds.keys()
        and all(isinstance(found[name], kind) for name, kind in kinds.items())
        and all(_is_step(steps) for steps in found["running"].values())
    )


def _is_step(found: object) -> bool:
    """Whether it is a trial's step and its number of steps."""
    return isinstance(found, list) and len(found) == 2 and all(isinstance(n, int) for n in found)
