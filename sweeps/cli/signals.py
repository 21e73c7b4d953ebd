"""Signal handlers: the first signal ends a command in good order, a second one at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from sweeps.cli.exit_codes import INTERRUPTED

MESSAGE_INTERRUPTED = "sweeps: interrupted; run the same command to continue from here"
MESSAGE_ENDED = b"sweeps: ended at once; run the same command to continue from the saved state\n"
# Schedulers and containers send SIGTERM, a closed terminal sends SIGHUP.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds after which the exception is raised again where Python dropped it.
AGAIN = 0.01


class Interrupted(KeyboardInterrupt):
    """Raised by the first signal.

    It is a subclass because Python ends the process by the signal, with another exit code,
    after a plain KeyboardInterrupt has passed through exec(), as it may during an import.
    """


class SignalHandler:
    """Raises Interrupted at the first signal and ends the process at the second.

    After the first signal a sweep saves its finished trials and closes its run, which may
    wait for servers and workers. Ending at once is safe as well: acknowledged results are in
    the ledger, and the next launch closes the run. A second SIGHUP is ignored, since a shell
    passes SIGHUP on to jobs that have received it already.

    Attributes:
        received: True after the first signal.
        is_over: True when the command has ended, so that a first signal has nothing to end.
    """

    def __init__(self) -> None:
        self.received = False
        self.is_over = False
        self._terminals = [number for number in (1, 2) if os.isatty(number)]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal."""
        if number == signal.SIGHUP:
            self._mute()
        if self.received and number == signal.SIGHUP:
            return
        if self.received:
            os.write(2, MESSAGE_ENDED)
            os._exit(INTERRUPTED)
        self.received = True
        if not self.is_over:
            raise Interrupted

    def on_dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Raise Interrupted again, a moment later, where it was raised in vain.

        Python prints and drops an exception that is raised in a `__del__` or in the callback
        of a weak reference, such as those of the import system. Another dropped exception is
        printed as before.
        """
        if not isinstance(dropped.exc_value, Interrupted):
            sys.__unraisablehook__(dropped)
        elif not self.is_over:
            signal.signal(signal.SIGALRM, self._raise)
            signal.setitimer(signal.ITIMER_REAL, AGAIN)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise Interrupted

    def _mute(self) -> None:
        """Redirect closed terminals to the null device, since writing to them raises."""
        for number in self._terminals:
            if not os.isatty(number):
                with open(os.devnull, "w") as null:  # noqa: PTH123
                    os.dup2(null.fileno(), number)


@contextlib.contextmanager
def handling_signals() -> Iterator[None]:
    """Install the handler; a command that was interrupted exits with 130.

    SIGHUP stays ignored if it was before, as under nohup. SIGINT is handled even then, since
    a shell ignores it for its background jobs.

    Any exception after a signal counts as the interruption: an interrupted import may raise
    any error.
    """
    handler = SignalHandler()
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    sys.unraisablehook = handler.on_dropped
    try:
        yield
    except BaseException as error:
        if isinstance(error, SystemExit) or not (
            handler.received or isinstance(error, KeyboardInterrupt)
        ):
            raise
        with contextlib.suppress(OSError, ValueError):
            print(MESSAGE_INTERRUPTED, file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        handler.is_over = True
