"""The Ray of a sweep's own starts in a thread while the sweep prepares the rest."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor


class OwnRay:
    """Starts a Ray on this machine and ends it; a context manager.

    Both happen in one thread that lives as long as this object: Linux kills the processes of a
    Ray when the thread that started them ends.
    """

    def __init__(self) -> None:
        """Start nothing yet, and no thread."""
        self._thread = ThreadPoolExecutor(1, "own-ray")
        self._context = contextlib.ExitStack()
        self._started: Future[None] | None = None

    def start(self) -> None:
        """Begin to start it; `ready` waits until it has started."""
        from sweeps.execution import local_ray  # imports ray, so not in the thread

        if self._started is None:
            self._started = self._thread.submit(self._context.enter_context, local_ray.own())

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Stay connected to it while the block runs, and end it then. For one block only.

        Raises:
            Exception: the error of Ray's start.
        """
        self.start()
        assert self._started is not None
        try:
            self._started.result()
            yield
        finally:
            self._end()

    def _end(self) -> None:
        """End it after it has started; do nothing if it was never started."""
        if self._started is not None:
            self._thread.submit(self._context.close).result()

    def __enter__(self) -> "OwnRay":
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()
        self._thread.shutdown()
