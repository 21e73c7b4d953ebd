"""The thread in which a Ray worker trains; an interruption waits until it has ended."""

import contextlib
import threading
from collections.abc import Iterator

# Set when Tune interrupts this worker.
INTERRUPTED = threading.Event()
# Set while no trial trains in this worker.
ENDED = threading.Event()
ENDED.set()


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Mark the trial's thread as running while the block lasts."""
    ENDED.clear()
    try:
        yield
    finally:
        ENDED.set()
