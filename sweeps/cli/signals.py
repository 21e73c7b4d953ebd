"""Signals that end a command: the first in good order, a second Ctrl-C or SIGTERM at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

ENDS = "sweeps: interrupted; the same command again goes on from here"
LEAVES = b"sweeps: left at once; the same command again goes on from what is on disk\n"
# SIGTERM is a scheduler's or a container's stop, SIGHUP that of a terminal that was closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Ends a command in good order.

    Python would end the process by the signal, whatever exit code is asked for, where a
    KeyboardInterrupt of its own class has passed through exec(), as it may in imports.
    """


class Interruption:
    """A signal's handler: raises Interrupted the first time, ends the process the second.

    The first lets a sweep write what is finished and close its run. That waits for servers
    and workers, and whoever asks again does not want to: what is acknowledged is in the
    ledger by then, and the next launch closes the run. A second SIGHUP asks for nothing: a
    shell passes on the one that all its jobs were sent.

    Attributes:
        asked: whether a signal came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._terminals = [number for number in (1, 2) if _is_terminal(number)]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if number == signal.SIGHUP:
            self._mute()
        if self.asked and number == signal.SIGHUP:
            return
        if self.asked:
            os.write(2, LEAVES)
            os._exit(130)
        self.asked = True
        raise Interrupted

    def _mute(self) -> None:
        """Drop what is said to a terminal that was closed: writing to it is an error."""
        for number in self._terminals:
            if not _is_terminal(number):
                with open(os.devnull, "w") as nowhere:  # noqa: PTH123
                    os.dup2(nowhere.fileno(), number)


def _is_terminal(number: int) -> bool:
    """Whether a stream is a terminal that is still there."""
    return os.isatty(number)


@contextlib.contextmanager
def handling_signals() -> Iterator[None]:
    """Take the signals so from now on; a command that was interrupted exits with 130.

    A signal that was ignored from the start, as SIGHUP under nohup, stays ignored; SIGINT is
    taken all the same, for a shell ignores it for its background jobs.

    Whatever ends the command after a signal is the signal's doing: an import that was cut
    off may say anything.
    """
    taken = Interruption()
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, taken)
    try:
        yield
    except BaseException as error:
        if isinstance(error, SystemExit) or not (
            taken.asked or isinstance(error, KeyboardInterrupt)
        ):
            raise
        with contextlib.suppress(OSError, ValueError):
            print(ENDS, file=sys.stderr)
        sys.exit(130)
