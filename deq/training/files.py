"""Files that appear whole or not at all, and are on disk when the write returns."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".new"  # suffix of a file that is still being written


@contextmanager
def unfinished_file(folder: Path) -> Iterator[Path]:
    """Create an empty file in `folder` and yield its path; remove it unless it was published.

    Args:
        folder: created when missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}{UNFINISHED}"
    try:
        path.touch()
        yield path
    finally:
        path.unlink(missing_ok=True)


def publish(unfinished: Path, path: Path) -> None:
    """Flush a finished file to disk, rename it to `path`, and flush the rename."""
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
