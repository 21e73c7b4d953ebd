"""Make standard output and error accept any text, with any encoding, closed, or unread."""

import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper, UnsupportedOperation
from pathlib import Path
from typing import Any

from sweeps.errors import DiskError


class _Descriptor(FileIO):
    """Descriptor of a stream that discards text once nobody reads it, as after `| head`."""

    def write(self, data: Any, /) -> int:
        """Write; replace the descriptor by the null device if its reader has left."""
        try:
            return super().write(data)
        except BrokenPipeError:
            discard(self.fileno())
            return super().write(data)


def prepare_streams() -> None:
    """Make both streams accept any text.

    Characters that a stream cannot encode are escaped. A closed stream, and one whose reader
    leaves, is replaced by the null device: a sweep goes on without it.
    """
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.flush()
            setattr(sys, name, _unbreakable(stream))


def _unbreakable(stream: TextIOWrapper) -> TextIOWrapper:
    """A stream on the same descriptor, with the same buffering; the stream if it has none."""
    try:
        raw = _Descriptor(stream.fileno(), "w", closefd=False)
    except UnsupportedOperation:  # text that is kept in memory
        stream.reconfigure(errors="backslashreplace")
        return stream
    return TextIOWrapper(
        raw if stream.write_through else BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def discard(descriptor: int) -> None:
    """Replace a descriptor by the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def full_stdout() -> DiskError | None:
    """Test whether standard output can be written after an OSError; return its error if not.

    It writes an empty line, since Python drops the text that failed.
    """
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        # Or Python would try to write the rest again when it exits.
        discard(sys.stdout.fileno())
        return DiskError(f"standard output cannot be written ({error.strerror})")
    return None


def _fill_descriptors() -> None:
    """Open the null device for closed descriptors 0 to 2, so that no other file gets them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
