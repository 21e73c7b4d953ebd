"""Checkpoints of an output root: where they lie, when one is written, when it goes.

A pack's lie in a folder of its own, named by its trials in their order: the last bits of a
trajectory can depend on the pack, so no other pack goes on from them.
"""

import hashlib
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.config.early_stopping import AshaConfig
from sweeps.config.launch import LaunchConfig
from sweeps.storage.output_root import folder_of

FOLDER = "checkpoints"
# The file in a pack's folder that says which trials it is of.
TRIALS = "trials"

Pack = Sequence[str]  # config hashes


@dataclass(frozen=True)
class Checkpoints:
    """All of an output root's, as the driver sees them.

    Attributes:
        root: an absolute folder, on storage of all nodes.
        every: seconds between two checkpoints of a pack; at 0 there are none.
    """

    root: Path
    every: float

    @classmethod
    def under(cls, output: Path, every: float) -> "Checkpoints":
        """Those of an output root."""
        return cls((output / FOLDER).resolve(), every)

    def folder(self, pack: Pack) -> Path:
        """Where a pack's lie."""
        return self.root / f"{pack[0][:12]}-{digest_of(pack)[:12]}"

    def packs(self) -> dict[Path, list[str]]:
        """The packs that have some, by their folders."""
        if not self.every or not self.root.is_dir():
            return {}
        return {folder: _trials(folder) for folder in sorted(self.root.iterdir())}

    def orphaned(self, packs: Sequence[Pack]) -> list[str]:
        """Trials of these packs that start anew, since theirs were made in another pack."""
        held = self.packs()
        known = {digest for pack in held.values() for digest in pack}
        new = (pack for pack in packs if self.folder(pack) not in held)
        return [digest for pack in new for digest in pack if digest in known]

    def forget(self, trials: Collection[str]) -> None:
        """Remove those that any of these trials has a part in."""
        for folder, pack in self.packs().items():
            if not set(pack).isdisjoint(trials):
                shutil.rmtree(folder, ignore_errors=True)

    def tidy(self, ended: Collection[str]) -> None:
        """Remove those of packs all of whose trials have ended."""
        for folder, pack in self.packs().items():
            if set(pack) <= set(ended):
                shutil.rmtree(folder, ignore_errors=True)


class CheckpointCleaner:
    """Removes the checkpoints of a pack when the last of its trials has ended."""

    def __init__(self, checkpoints: Checkpoints, packs: Sequence[Pack]) -> None:
        lefts = [(checkpoints.folder(pack), set(pack)) for pack in packs]
        self.packs = {digest: (folder, left) for folder, left in lefts for digest in left}

    def add(self, digest: str) -> None:
        """A trial's result is on disk, or it will have none."""
        folder, left = self.packs[digest]
        left.discard(digest)
        if not left:
            shutil.rmtree(folder, ignore_errors=True)


def discard_pack(checkpoints: Checkpoints | None, pack: Pack) -> Checkpoints | None:
    """Remove a pack's checkpoints; return None where they cannot be removed."""
    folder = checkpoints and checkpoints.folder(pack)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return None if folder and folder.exists() else checkpoints


def checkpoints_of(launched: LaunchConfig, sweep: str) -> Checkpoints:
    """The output root's; a sweep that stops trials early keeps its own, for they are its."""
    root = Path(launched.paths.output)
    if isinstance(launched.early_stopping, AshaConfig):
        root = folder_of(root, sweep)
    return Checkpoints.under(root, launched.checkpoint.every_seconds)


def digest_of(pack: Pack) -> str:
    """A digest of a pack's trials in their order."""
    return hashlib.sha256("\n".join(pack).encode()).hexdigest()


def _trials(folder: Path) -> list[str]:
    """The trials whose checkpoints lie here; none where that was not written down."""
    path = folder / TRIALS
    return path.read_text(errors="replace").split() if path.exists() else []
