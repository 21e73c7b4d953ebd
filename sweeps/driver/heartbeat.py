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

from sweeps.driver.progress import SweepProgress
from sweeps.storage.root_lock import is_held

NAME = "running.json"
# Seconds between two beats, and after which a driver that does not beat is taken for dead.
EVERY, DEAD_AFTER = 2.0, 20.0


@dataclass(frozen=True)
class Heartbeat:
    """A driver's word that it is at work.

    Attributes:
        at: seconds since the epoch.
        host, pid: of the driver.
        running: step and steps of the trials under way, by config hash.
        stuck: for how many seconds a trial has made no step, of those that is long of.
        summary: how many trials are done, running, failed and reused, and the time left.
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
    """Beats while its block lasts; a context manager."""

    def __init__(
        self, folder: Path, progress: SweepProgress, on_stuck: Callable[[dict[str, int]], None]
    ) -> None:
        """Beat into a sweep's folder.

        Args:
            folder: the sweep's.
            progress: what to say.
            on_stuck: is told at every beat which trials have made no step for long, by
                config hash, and for how many seconds; called in a thread of its own.
        """
        self._path, self._progress, self._on_stuck = folder / NAME, progress, on_stuck
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pulse", daemon=True)

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _work(self) -> None:
        beside = self._path.with_suffix(".new")
        while True:
            beat = self._beat()
            # A full disk must not end a sweep for want of a pulse.
            with contextlib.suppress(OSError):
                beside.write_text(json.dumps(asdict(beat)))
                beside.replace(self._path)
            with contextlib.suppress(OSError):  # nor a stream that takes nothing
                self._on_stuck(beat.stuck)
            if self._stop.wait(EVERY):
                return

    def _beat(self) -> Heartbeat:
        progress = self._progress
        return Heartbeat(
            time.time(),
            running={digest: [at.step, at.steps] for digest, at in progress.running().items()},
            stuck=progress.stuck(),
            summary=progress.sentence(),
            waiting_for=progress.waiting_text(),
        )


def last_heartbeat(folder: Path) -> Heartbeat | None:
    """The word of the driver that is at work on a sweep; None when none is.

    A driver of this machine is looked for, another's clock must do.
    """
    try:
        found = json.loads((folder / NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not _is_beat(found):
        return None
    beat = Heartbeat(**found)
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
    """Whether what a file holds are fields of a Beat, each of its type."""
    needed: dict[str, type] = {"at": float, "host": str, "pid": int, "running": dict}
    kinds: dict[str, type] = {**needed, "stuck": dict, "summary": str, "waiting_for": str}
    return (
        isinstance(found, dict)
        and needed.keys() <= found.keys() <= kinds.keys()
        and all(isinstance(value, kinds[name]) for name, value in found.items())
        and all(_is_step(steps) for steps in found["running"].values())
        and all(isinstance(seconds, int) for seconds in found.get("stuck", {}).values())
    )


def _is_step(found: object) -> bool:
    """Whether it is a trial's step and its number of steps."""
    return isinstance(found, list) and len(found) == 2 and all(isinstance(n, int) for n in found)
