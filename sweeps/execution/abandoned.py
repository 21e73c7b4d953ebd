"""Threads that still wait for a Ray that is dead.

Such a thread is inside Ray's native code. It would crash the process when Ray is left, or when
the interpreter ends: the process must end without either.
"""

import os
import sys
import threading

_threads: list[threading.Thread] = []


def abandon(thread: threading.Thread) -> None:
    """Note a thread that nobody waits for any more."""
    _threads.append(thread)


def any_waits() -> bool:
    """Return whether an abandoned thread has not ended."""
    return any(thread.is_alive() for thread in _threads)


def exit_without_them(code: int) -> None:
    """End the process at once if an abandoned thread has not ended; else do nothing."""
    if any_waits():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
