"""A Ray of the sweep's own that starts in a thread, while the sweep prepares the rest."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor


class OwnRay:
    """Starts a Ray of one's own on this machine and ends it; a context manager.

    Both happen in one thread that lives as long as this: Linux kills the processes of a Ray
    when the thread ends that started them.
    """

    def __init__(self) -> None:
        """Start nothing, no thread either."""
        self._thread = ThreadPoolExecutor(1, "own-ray")
        self._context = contextlib.ExitStack()
        self._started: Future[None] | None = None

    def start(self) -> None:
        """Have it start; whoever needs it waits for it by `ready`."""
        from sweeps.workers import local  # imports ray: in no thread, beside other imports

        if self._started is None:
            self._started = self._thread.submit(self._context.enter_context, local.own())

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Be connected to it, started now if it was not, until the block ends; once.

        Raises:
            Exception: what Ray raised as it was started.
        """
        self.start()
        assert self._started is not None
        try:
            self._started.result()
            yield
        finally:
            self._end()

    def _end(self) -> None:
        """End it, once it has started; nothing where it was not to."""
        if self._started is not None:
            self._thread.submit(self._context.close).result()

    def __enter__(self) -> "OwnRay":
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()
        self._thread.shutdown()
