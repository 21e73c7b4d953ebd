"""A Ray of the sweep's own, which may be started before it is known what it trains."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor


class OwnRay:
    """Starts a Ray of one's own on this machine, once, and ends it; a context manager."""

    def __init__(self) -> None:
        """Start nothing."""
        self._context = contextlib.ExitStack()
        self._started = False

    def start(self, beside: Callable[[], object] = lambda: None) -> None:
        """Start it now, and meanwhile call something in a thread, whose errors are not heard.

        It is not Ray that starts in the thread: Linux would end its processes with that
        thread, and Ray puts a handler of SIGTERM in place that only the main thread can
        take away again.

        Args:
            beside: imports what is needed next, say.

        Raises:
            Exception: what Ray raised.
        """
        from sweeps.workers import local  # imports ray

        self._started = True
        with ThreadPoolExecutor(1) as thread:
            thread.submit(beside)
            self._context.enter_context(local.own())

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Be connected to it, started now if it was not, until the block ends."""
        with self._context:
            if not self._started:
                self.start()
            yield

    def __enter__(self) -> "OwnRay":
        return self

    def __exit__(self, *raised: object) -> None:
        self._context.close()
