"""The Ray of a sweep's own; it may start before the rest of the sweep is prepared."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor


class OwnRay:
    """Starts a Ray on this machine, once, and ends it; a context manager."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._context = contextlib.ExitStack()
        self._started = False

    def start(self, beside: Callable[[], object] = lambda: None) -> None:
        """Start Ray, and call `beside` in a thread meanwhile; its errors are ignored.

        Ray itself starts in the main thread: Linux would end Ray's processes together with
        any other thread, and Ray installs a SIGTERM handler that only the main thread can
        remove.

        Args:
            beside: imports what is needed next, for example.

        Raises:
            Exception: the error of Ray's start.
        """
        from sweeps.execution import local_ray  # imports ray

        self._started = True
        with ThreadPoolExecutor(1) as thread:
            thread.submit(beside)
            self._context.enter_context(local_ray.own())

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Stay connected to Ray while the block runs, then end it; start it if necessary."""
        with self._context:
            if not self._started:
                self.start()
            yield

    def __enter__(self) -> "OwnRay":
        return self

    def __exit__(self, *raised: object) -> None:
        self._context.close()
