"""Writes and reads the checkpoints of the pack that a worker trains."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deq import Descent
from deq.training.checkpoint import Checkpoint, UnusableError, conditions, newest, write
from sweeps.config.nested import one_line
from sweeps.storage.checkpoints import TRIALS, Checkpoints, Pack, digest_of
from sweeps.storage.record import now

# Checkpoints may take one part in so many of a pack's time.
SHARE = 20


class CheckpointWriter:
    """One pack's checkpoints, as its worker sees them.

    Attributes:
        started: when the pack first began, in milliseconds since the epoch.
        pack: config hashes of its trials.
        resumed_at: the GD steps from which it was gone on with, one for each time.
    """

    def __init__(self, checkpoints: Checkpoints | None, pack: Pack, device: str) -> None:
        self.started, self.resumed_at = now(), list[int]()
        self.pack, self._device = pack, device
        self._checkpoints = checkpoints if checkpoints and checkpoints.every else None
        self._last, self._cost, self._complained = time.monotonic(), 0.0, False

    @property
    def folder(self) -> Path | None:
        """Folder of the pack's checkpoints; None where it writes none."""
        return self._checkpoints.folder(self.pack) if self._checkpoints else None

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Find the newest usable checkpoint, and the lines to tell the user about it."""
        if self._checkpoints is None:
            return None, []
        folder = self._checkpoints.folder(self.pack)
        try:
            found, said = newest(folder, self._stamp(), self._device)
            if found:
                self.resumed_at = [*found.carried["resumed_at"], found.step]
                self.started = found.carried["started"]
        except (OSError, KeyError, TypeError) as error:
            return None, [f"its checkpoints cannot be read ({one_line(error)}): starts anew"]
        return found, said

    def write_if_due(self, descent: Descent) -> Iterator[str]:
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
        began, folder = time.monotonic(), self._checkpoints.folder(self.pack)
        carried = {"started": self.started, "resumed_at": self.resumed_at}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / TRIALS).write_text("\n".join(self.pack))
            write(folder, descent, self._stamp(), carried)
        except OSError as error:
            if not self._complained:
                yield f"no checkpoint was written, training goes on ({one_line(error)})"
            self._complained = True
        self._last = time.monotonic()
        self._cost = self._last - began

    def close(self) -> None:
        """Write no more checkpoints of this pack."""
        self._checkpoints = None

    def split(self, descent: Descent, parts: Sequence[Pack]) -> bool:
        """Write a checkpoint of each part of the pack, in place of the pack's own.

        Returns:
            Whether there are such: a part is then gone on with as a pack of its own.
        """
        if self._checkpoints is None:
            return False
        whole = self._checkpoints.folder(self.pack)
        list(self.write(descent))
        try:
            for part in parts:
                self._write_part(descent, whole, part)
        except (OSError, UnusableError):
            return False
        if all(self._checkpoints.folder(part) != whole for part in parts):
            shutil.rmtree(whole, ignore_errors=True)
        return True

    def _write_part(self, descent: Descent, whole: Path, part: Pack) -> None:
        """Write the checkpoint of some trials of the pack, from that of the pack on disk."""
        assert self._checkpoints is not None
        folder = self._checkpoints.folder(part)
        if folder == whole:
            if not any(whole.glob("step-*.npz")):
                raise UnusableError("none could be written")
            return
        found, said = newest(whole, self._stamp(), self._device)
        if found is None:
            raise UnusableError(" ".join(said) or "there is none")
        courses = descent.courses
        own = found.descent([c.config for c in courses], [c.dataset for c in courses])
        own.only([own.courses[k] for k, digest in enumerate(self.pack) if digest in part])
        if not own.groups:  # all of them have ended
            return
        folder.mkdir(parents=True, exist_ok=True)
        for beside in whole.glob("*.json"):  # which points were shown
            shutil.copy(beside, folder)
        (folder / TRIALS).write_text("\n".join(part))
        write(folder, own, self._stamp(part), found.carried)

    def _stamp(self, pack: Pack | None = None) -> dict[str, Any]:
        return {"trials": digest_of(pack or self.pack), **conditions(self._device)}
