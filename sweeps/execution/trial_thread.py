"""The thread in which a Ray worker trains; an interruption waits until it has ended."""

import contextlib
import threading
from collections.abc import Iterator

# In the worker's process: it is to end; the thread of its trial has ended, or none has begun.
INTERRUPTED, ENDED = threading.Event(), threading.Event()
ENDED.set()


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Note that the trial's thread runs while the block lasts."""
    ENDED.clear()
    try:
        yield
    finally:
        ENDED.set()
