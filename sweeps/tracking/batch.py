"""A batch of results of one sweep for MLflow."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.storage.record import Record
from sweeps.tracking.bulk import Bulk
from sweeps.tracking.client import ErrorGuard
from sweeps.tracking.inputs import log_inputs
from sweeps.tracking.runs import SweepPage
from sweeps.tracking.trial_runs import TrialRuns

if TYPE_CHECKING:
    from types import TracebackType


class ResultBatch:
    """Context manager that sends finished trials of one sweep; sending them again changes nothing.

    Results may be written only when the block ends, also if it ends by an error. Raises
    TrackingError if MLflow does not take a result.

    Attributes:
        written: after the block, the ids of the trials' runs, in the order of `add`.
    """

    def __init__(
        self,
        client: Any,
        guard: ErrorGuard,
        trials: TrialRuns,
        page: SweepPage,
        *,
        exclusive: bool,
    ) -> None:
        """Send nothing yet.

        Args:
            client: MLflow's client.
            guard: turns the client's errors into TrackingError.
            trials: writes the trials' runs.
            page: the page of their sweep.
            exclusive: whether the store is a database that only this process writes to.
        """
        self._client, self._guard, self._exclusive = client, guard, exclusive
        self._trials, self._page = trials, page
        self._bulk: Bulk | None = None
        self._data: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []

    def __enter__(self) -> "ResultBatch":
        if self._exclusive:
            with self._guard("a result"):
                self._bulk = Bulk.of(self._client, self._page.experiment)
        return self

    def add(
        self, name: str, record: Record, figure: bytes = b"", weights: Path | None = None
    ) -> None:
        """Send a finished trial.

        Args:
            name: the trial's name.
            record: the result.
            figure: its figure (PNG); drawn now if it is empty.
            weights: file of its weights, if they were kept.
        """
        with self._guard("a result"):
            run = self._trials.send(self._page, name, record, figure, weights, self._bulk)
        self._data[run] = record.config["data"]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        if self._bulk is not None:
            with self._guard("a result"):
                self._bulk.write()
        with self._guard("a data set"):
            log_inputs(self._client, self._page.experiment, self._data, exclusive=self._exclusive)
        self.written = list(self._data)
