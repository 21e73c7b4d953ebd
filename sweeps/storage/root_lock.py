"""The lock of an output root: one process at a time writes there."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sweeps.errors import ConfigError

NAME = "driver.lock"
# Seconds to wait for the lock: `is_held` in another process takes it for a moment.
WAIT_SECONDS = 1.0


@contextlib.contextmanager
def held(output: Path, who: Callable[[], str]) -> Iterator[None]:
    """Hold the lock while the block lasts.

    Args:
        output: the output root.
        who: returns the beginning of the error message, which names the holder.

    Raises:
        ConfigError: another process holds it.
    """
    lock = FileLock(output / NAME)
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout as error:
        raise ConfigError(
            f"{who()} on paths.output={output}: wait for it to end or `sweeps stop` it, or choose "
            "another paths.output"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(output: Path) -> bool:
    """Return whether a process of this machine holds the lock. Writes nothing."""
    try:
        with (output / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
