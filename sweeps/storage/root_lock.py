"""The lock of an output root: one process at a time writes there."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sweeps.errors import ConfigError

NAME = "driver.lock"
# Seconds that `is_held` of another process, which looks for a moment, is waited for.
PATIENCE = 1.0


@contextlib.contextmanager
def held(output: Path, who: Callable[[], str]) -> Iterator[None]:
    """Hold the lock while the block lasts.

    Args:
        output: the output root.
        who: says what holds it, as the beginning of a sentence.

    Raises:
        ConfigError: another process holds it.
    """
    lock = FileLock(output / NAME)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise ConfigError(
            f"{who()} on paths.output={output}: wait for it to end, or choose another paths.output"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(output: Path) -> bool:
    """Whether a process of this machine holds the lock; nothing is written."""
    try:
        with (output / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
