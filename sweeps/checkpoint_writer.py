"""Writes and reads the checkpoints of the pack that a worker trains."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deq import Descent
from deq.training.checkpoint import Checkpoint, conditions, newest, write
from sweeps.checkpoints import TRIALS, Checkpoints, Pack, digest_of
from sweeps.plain import one_line
from sweeps.record import now

# Checkpoints may take one part in so many of a pack's time.
SHARE = 20


class CheckpointWriter:
    """One pack's checkpoints, as its worker sees them.

    Attributes:
        started: when the pack first began, in milliseconds since the epoch.
        resumed_at: the GD steps from which it was gone on with, one for each time.
    """

    def __init__(self, checkpoints: Checkpoints | None, pack: Pack, device: str) -> None:
        self.started, self.resumed_at = now(), list[int]()
        self._pack, self._device = pack, device
        self._checkpoints = checkpoints if checkpoints and checkpoints.every else None
        self._last, self._cost, self._complained = time.monotonic(), 0.0, False

    @property
    def folder(self) -> Path | None:
        """Where the pack's checkpoints are; None where it writes none."""
        return self._checkpoints.folder(self._pack) if self._checkpoints else None

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """What to go on from, and what is to be said of it."""
        if self._checkpoints is None:
            return None, []
        folder = self._checkpoints.folder(self._pack)
        try:
            found, said = newest(folder, self._stamp(), self._device)
            if found:
                self.resumed_at = [*found.carried["resumed_at"], found.step]
                self.started = found.carried["started"]
        except (OSError, KeyError, TypeError) as error:
            return None, [f"its checkpoints cannot be read ({one_line(error)}): starts anew"]
        return found, said

    def keep(self, descent: Descent) -> Iterator[str]:
        """Write a checkpoint when it is time; what is to be said of it."""
        if self._checkpoints is None:
            return
        pause = max(self._checkpoints.every, SHARE * self._cost)
        if time.monotonic() - self._last >= pause:
            yield from self.write(descent)

    def write(self, descent: Descent) -> Iterator[str]:
        """Write a checkpoint of a descent that is between two steps and not at its end.

        Training goes on where it cannot be written, as on a full disk; that is said once.
        """
        if self._checkpoints is None or not descent.groups:
            return
        began, folder = time.monotonic(), self._checkpoints.folder(self._pack)
        carried = {"started": self.started, "resumed_at": self.resumed_at}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / TRIALS).write_text("\n".join(self._pack))
            write(folder, descent, self._stamp(), carried)
        except OSError as error:
            if not self._complained:
                yield f"no checkpoint was written, training goes on ({one_line(error)})"
            self._complained = True
        self._last = time.monotonic()
        self._cost = self._last - began

    def _stamp(self) -> dict[str, Any]:
        return {"trials": digest_of(self._pack), **conditions(self._device)}
