"""Writes and reads the checkpoints of the pack that a worker trains."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deq import GradientDescent
from deq.training.checkpoint import (
    Checkpoint,
    UnusableError,
    load_newest,
    numerical_environment,
    write_checkpoint,
)
from sweeps.config.texts import one_line
from sweeps.storage.checkpoints import Checkpoints, Pack, begin_pack, digest_of
from sweeps.storage.record import now

# Writing checkpoints may take at most 1 / SHARE of a pack's time.
SHARE = 20


class CheckpointWriter:
    """Writes and reads the checkpoints of one pack.

    Attributes:
        started: when the pack first began, in milliseconds since the epoch.
        pack: config hashes of its trials.
        resumed_at: the GD step of each resume.
    """

    def __init__(self, checkpoints: Checkpoints | None, pack: Pack, device: str) -> None:
        self.started, self.resumed_at = now(), list[int]()
        self.pack, self._device = pack, device
        self._checkpoints = checkpoints if checkpoints and checkpoints.every else None
        self._last, self._cost, self._complained = time.monotonic(), 0.0, False

    @property
    def folder(self) -> Path | None:
        """Folder of the pack's checkpoints; None if it writes none."""
        return self._checkpoints.folder(self.pack) if self._checkpoints else None

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest usable checkpoint, if any, and lines for the user about it."""
        if self._checkpoints is None:
            return None, []
        folder = self._checkpoints.folder(self.pack)
        try:
            checkpoint, lines = load_newest(folder, self._stamp(), self._device)
            if checkpoint:
                self.resumed_at = [*checkpoint.metadata["resumed_at"], checkpoint.step]
                self.started = checkpoint.metadata["started"]
        except (OSError, KeyError, TypeError) as error:
            return None, [f"its checkpoints cannot be read ({one_line(error)}): starts anew"]
        return checkpoint, lines

    def write_if_due(self, descent: GradientDescent) -> Iterator[str]:
        """Write a checkpoint if it is time; yield lines for the user."""
        if self._checkpoints is None:
            return
        pause = max(self._checkpoints.every, SHARE * self._cost)
        if time.monotonic() - self._last >= pause:
            yield from self.write(descent)

    def write(self, descent: GradientDescent) -> Iterator[str]:
        """Write a checkpoint of a descent that is between two steps and not at its end.

        If it cannot be written, as on a full disk, training goes on.

        Yields:
            A line for the user, the first time that a checkpoint cannot be written.
        """
        if self._checkpoints is None or not descent.groups:
            return
        began, folder = time.monotonic(), self._checkpoints.folder(self.pack)
        metadata = {"started": self.started, "resumed_at": self.resumed_at}
        try:
            begin_pack(folder, self.pack)
            write_checkpoint(folder, descent, self._stamp(), metadata)
        except OSError as error:
            if not self._complained:
                yield f"no checkpoint was written, training goes on ({one_line(error)})"
            self._complained = True
        self._last = time.monotonic()
        self._cost = self._last - began

    def close(self) -> None:
        """Stop writing checkpoints of this pack."""
        self._checkpoints = None

    def split(self, descent: GradientDescent, parts: Sequence[Pack]) -> bool:
        """Replace the pack's checkpoint by one for each part of the pack.

        Returns:
            Whether they were written; each part can then continue as a pack of its own.
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

    def _write_part(self, descent: GradientDescent, whole: Path, part: Pack) -> None:
        """Write the checkpoint of some trials of the pack, from the pack's on disk."""
        assert self._checkpoints is not None
        folder = self._checkpoints.folder(part)
        if folder == whole:
            if not any(whole.glob("step-*.npz")):
                raise UnusableError("none could be written")
            return
        checkpoint, lines = load_newest(whole, self._stamp(), self._device)
        if checkpoint is None:
            raise UnusableError(" ".join(lines) or "there is none")
        runs = descent.runs
        part_descent = checkpoint.descent([c.config for c in runs], [c.dataset for c in runs])
        part_descent.only(
            [part_descent.runs[k] for k, digest in enumerate(self.pack) if digest in part]
        )
        if not part_descent.groups:  # all of them have ended
            return
        begin_pack(folder, part)
        for file in whole.glob("*.json"):  # the points that were sent
            shutil.copy(file, folder)
        write_checkpoint(folder, part_descent, self._stamp(part), checkpoint.metadata)

    def _stamp(self, pack: Pack | None = None) -> dict[str, Any]:
        return {"trials": digest_of(pack or self.pack), **numerical_environment(self._device)}
