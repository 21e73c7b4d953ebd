"""The driver's heartbeat: a small file beside the report that `sweeps status` reads.

The ledger holds what is finished. The heartbeat holds what is running now, and shows that a
driver is alive.
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

from sweeps.driver.progress import SweepProgress
from sweeps.storage.root_lock import is_held
from sweeps.storage.whole_files import write_json

NAME = "running.json"
# Seconds between two heartbeats, and the age at which a driver on another machine counts as dead.
EVERY, DEAD_AFTER = 2.0, 20.0


@dataclass(frozen=True)
class Heartbeat:
    """State of a driver that is alive.

    Attributes:
        at: time of the heartbeat, in seconds since the epoch.
        host, pid: machine and process of the driver.
        running: [step, steps] of each trial that trains, by config hash.
        stuck: seconds since the last step, of trials that have made no step for long.
        summary: number of trials done, running, failed and reused, and the time left.
        waiting_for: what the driver waits for, as "starting Ray 12 s"; empty while trials train.
    """

    at: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    running: dict[str, list[int]] = field(default_factory=dict)
    stuck: dict[str, int] = field(default_factory=dict)
    summary: str = ""
    waiting_for: str = ""


class HeartbeatWriter:
    """Context manager that writes heartbeats, from a thread of its own, while its block runs."""

    def __init__(
        self, folder: Path, progress: SweepProgress, on_stuck: Callable[[dict[str, int]], None]
    ) -> None:
        """Prepare; the first heartbeat is written when the block begins.

        Args:
            folder: the sweep's folder.
            progress: the source of the heartbeat's content.
            on_stuck: called in the writer's thread at every heartbeat, with the seconds since
                the last step of each stuck trial, by config hash.
        """
        self._path, self._progress, self._on_stuck = folder / NAME, progress, on_stuck
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _work(self) -> None:
        while True:
            beat = self._heartbeat()
            with contextlib.suppress(OSError):  # a full disk must not end the sweep
                write_json(self._path, asdict(beat))
            with contextlib.suppress(OSError):  # nor a closed output stream
                self._on_stuck(beat.stuck)
            if self._stop.wait(EVERY):
                return

    def _heartbeat(self) -> Heartbeat:
        progress = self._progress
        return Heartbeat(
            time.time(),
            running={digest: [at.step, at.steps] for digest, at in progress.running().items()},
            stuck=progress.stuck(),
            summary=progress.sentence(),
            waiting_for=progress.waiting_text(),
        )


def last_heartbeat(folder: Path) -> Heartbeat | None:
    """Return the heartbeat of the driver that works on a sweep; None if no driver does.

    Whether a driver of this machine is alive is seen by its process and its lock. For another
    machine, the age of the heartbeat decides.

    Args:
        folder: the sweep's folder.
    """
    try:
        content = json.loads((folder / NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not _is_heartbeat(content):
        return None
    beat = Heartbeat(**content)
    if beat.host == socket.gethostname():
        return beat if _exists(beat.pid) and is_held(folder.parent.parent) else None
    return beat if time.time() - beat.at < DEAD_AFTER else None


def _exists(pid: int) -> bool:
    """Return whether this machine has a process with this id, of any user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _is_heartbeat(content: object) -> bool:
    """Return whether a file's content has the fields of a heartbeat, each of its type."""
    required: dict[str, type] = {"at": float, "host": str, "pid": int, "running": dict}
    types: dict[str, type] = {**required, "stuck": dict, "summary": str, "waiting_for": str}
    return (
        isinstance(content, dict)
        and required.keys() <= content.keys() <= types.keys()
        and all(isinstance(value, types[name]) for name, value in content.items())
        and all(_is_step(step) for step in content["running"].values())
        and all(isinstance(seconds, int) for seconds in content.get("stuck", {}).values())
    )


def _is_step(value: object) -> bool:
    """Return whether a value is a pair of whole numbers: a step, and the number of steps."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) for n in value)
