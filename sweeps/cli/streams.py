"""Make standard output and error accept any text, with any encoding and when closed."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from sweeps.errors import DiskError


def prepare_streams() -> None:
    """Escape characters that a stream cannot encode; replace closed streams by the null device."""
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def full_stdout() -> DiskError | None:
    """Test whether standard output can be written after an OSError; return its error if not.

    It writes an empty line, since Python drops the text that failed.
    """
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        # Or Python would try to write the rest again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DiskError(f"standard output cannot be written ({error.strerror})")
    return None


def _fill_descriptors() -> None:
    """Open the null device for closed descriptors 0 to 2, so that no other file gets them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
