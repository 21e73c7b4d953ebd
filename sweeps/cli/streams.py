"""Standard output and error that take every text: whatever their encoding, also when closed."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from sweeps.errors import DiskError


def prepare_streams() -> None:
    """Escape what a stream cannot encode; write to the null device where a stream is closed."""
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def full_stdout() -> DiskError | None:
    """The error of a standard output that does not take what is written, if that is at fault.

    Asked after an error. It adds an empty line: Python forgets what it could not write.
    """
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        # Python writes what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DiskError(f"standard output does not take what is written ({error.strerror})")
    return None


def _fill_descriptors() -> None:
    """Open the null device as each of 0, 1, 2 that is closed, or a file would become that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
