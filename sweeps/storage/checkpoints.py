"""Checkpoint folders of an output root, one for each pack.

A folder is named by the pack's trials in their order. The last bits of a trajectory can
depend on the pack, so no other pack resumes from its checkpoint.
"""

import hashlib
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.early_stopping import AshaConfig
from sweeps.config.launch import LaunchConfig
from sweeps.storage.output_root import folder_of
from sweeps.storage.whole_files import write_text

FOLDER = "checkpoints"
# File in a pack's folder that lists its trials.
TRIALS = "trials"

Pack = Sequence[str]  # config hashes


@dataclass(frozen=True)
class Checkpoints:
    """All checkpoints of an output root.

    Attributes:
        root: their absolute folder, on storage that all nodes share.
        every: seconds between two checkpoints of a pack; 0 turns checkpoints off.
    """

    root: Path
    every: float

    @classmethod
    def under(cls, output: Path, every: float) -> "Checkpoints":
        """Checkpoints under an output root."""
        return cls((output / FOLDER).resolve(), every)

    def folder(self, pack: Pack) -> Path:
        """Directory that holds this pack's checkpoint."""
        return self.root / f"{pack[0][:12]}-{digest_of(pack)[:12]}"

    def packs(self) -> dict[Path, list[str]]:
        """Packs that have a checkpoint, by its folder."""
        if not self.every or not self.root.is_dir():
            return {}
        return {folder: _trials(folder) for folder in sorted(self.root.iterdir())}

    def steps(self) -> dict[str, int]:
        """GD step of the newest checkpoint of each trial that has one, by config hash."""
        return {
            digest: step
            for folder, pack in self.packs().items()
            if (step := _newest_step(folder)) is not None
            for digest in pack
        }

    def orphaned(self, packs: Sequence[Pack]) -> list[str]:
        """Trials of these packs that must start anew: their checkpoint is another pack's."""
        saved = self.packs()
        saved_trials = {digest for pack in saved.values() for digest in pack}
        unsaved_packs = (pack for pack in packs if self.folder(pack) not in saved)
        return [digest for pack in unsaved_packs for digest in pack if digest in saved_trials]

    def forget(self, trials: Collection[str]) -> None:
        """Remove the checkpoints of packs that contain any of these trials."""
        for folder, pack in self.packs().items():
            if not set(pack).isdisjoint(trials):
                shutil.rmtree(folder, ignore_errors=True)

    def remove_ended(self, ended: Collection[str]) -> None:
        """Remove the checkpoints of packs whose trials have all ended."""
        for folder, pack in self.packs().items():
            if pack and set(pack) <= set(ended):
                shutil.rmtree(folder, ignore_errors=True)


class CheckpointCleaner:
    """Removes a pack's checkpoint when the last of its trials has ended."""

    def __init__(self, checkpoints: Checkpoints, packs: Sequence[Pack]) -> None:
        folders = [(checkpoints.folder(pack), set(pack)) for pack in packs]
        self._packs = {digest: (folder, left) for folder, left in folders for digest in left}

    def add(self, digest: str) -> None:
        """Note that a trial has ended: its result is on disk, or it failed."""
        folder, left = self._packs[digest]
        left.discard(digest)
        if not left:
            shutil.rmtree(folder, ignore_errors=True)


def begin_pack(folder: Path, pack: Pack) -> None:
    """Create a pack's folder, and list its trials there.

    The list is never changed: whoever reads it while a worker writes would take the pack for one
    without trials.

    Raises:
        OSError: the folder or the list could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / TRIALS).exists():
        write_text(folder / TRIALS, "\n".join(pack))


def discard_pack(checkpoints: Checkpoints | None, pack: Pack) -> Checkpoints | None:
    """Remove a pack's checkpoint; return None where it cannot be removed."""
    folder = checkpoints and checkpoints.folder(pack)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return None if folder and folder.exists() else checkpoints


def checkpoints_of(launched: LaunchConfig, sweep: str) -> Checkpoints:
    """The checkpoints that a sweep uses.

    A sweep that stops trials early has checkpoints of its own: which trials go on is decided
    by that sweep.
    """
    root = Path(launched.paths.output)
    if isinstance(launched.early_stopping, AshaConfig):
        root = folder_of(root, sweep)
    return Checkpoints.under(root, launched.checkpoint.every_seconds)


def digest_of(pack: Pack) -> str:
    """SHA-256 of a pack's trials in their order."""
    return hashlib.sha256("\n".join(pack).encode()).hexdigest()


def _newest_step(folder: Path) -> int | None:
    """GD step of the newest checkpoint in a folder, from its name step-STEP-SHA256.npz."""
    steps = [file.name.split("-")[1] for file in folder.glob("step-*-*.npz")]
    return max((int(step) for step in steps if step.isdecimal()), default=None)


def _trials(folder: Path) -> list[str]:
    """Trials of the pack in this folder; none where the list was not written, or is gone by now."""
    try:
        return (folder / TRIALS).read_text(errors="replace").split()
    except (FileNotFoundError, NotADirectoryError):
        return []
