"""The outbox worker: a thread that sends results from the ledger to MLflow.

Training never waits for MLflow.
"""

import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sweeps.driver.reconciliation import reconcile
from sweeps.errors import TrackingError
from sweeps.planning.plan import PlannedTrial
from sweeps.storage import weights
from sweeps.storage.disk_errors import explanation
from sweeps.storage.ledger import Ledger
from sweeps.storage.outbox import OutboxItem
from sweeps.storage.step_metrics import Live
from sweeps.tracking.live_runs import Ending
from sweeps.tracking.runs import SweepPage
from sweeps.tracking.tracker import Tracker

# New points of a trial that trains, or the end of a trial without a result.
LiveUpdate = tuple[PlannedTrial, Live] | Ending
# Seconds until an MLflow that did not answer is tried again.
RETRY_AFTER = 20.0
# Seconds between two sendings: results that come meanwhile are written in one batch.
PAUSE = 0.5
# Number of results that are sent before the ledger notes that they were.
BATCH = 16


class OutboxWorker:
    """Context manager that sends results as they come; only this thread writes to MLflow.

    Results that MLflow does not take stay in the ledger's outbox and are sent later.
    """

    def __init__(
        self,
        tracker: Tracker,
        ledger: Path,
        page: tuple[str, str],
        on_state: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            tracker: the MLflow to send to.
            ledger: file of the ledger.
            page: study and name of the sweep that trains.
            on_state: called in the worker's thread after every attempt, with the reason why
                MLflow does not take results, or "" when it does.
        """
        self._tracker, self._ledger, self._page = tracker, ledger, page
        self._on_state = on_state
        # Updates are not in the ledger: a lost one is sent again with the trial's result.
        self._updates: queue.SimpleQueue[LiveUpdate] = queue.SimpleQueue()
        self._next: LiveUpdate | None = None
        self._description = ""
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)

    def __enter__(self) -> "OutboxWorker":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def notify(self) -> None:
        """Send the new results that the ledger holds."""
        self._wake.set()

    def show(self, trial: PlannedTrial, live: Live) -> None:
        """Send new points of a trial that trains."""
        self._updates.put((trial, live))
        self._wake.set()

    def close(self, config_hash: str, status: str, reason: str, by: str = "") -> None:
        """Close the run of a trial that ended without a result, if it has a run."""
        self._updates.put(Ending(config_hash, status, reason, by))
        self._wake.set()

    def describe(self, text: str) -> None:
        """Replace the description of the sweep's page."""
        self._description = text
        self._wake.set()

    def _work(self) -> None:
        with contextlib.closing(Ledger(self._ledger)) as ledger:
            why = ""
            while not self._stop.is_set():
                self._wake.wait(RETRY_AFTER if why else None)
                self._wake.clear()
                why = self._send(ledger)
                self._on_state(why)
                self._stop.wait(PAUSE)
            self._close_ended()

    def _send(self, ledger: Ledger) -> str:
        """Send results, then live updates; return why they could not be sent, or ""."""
        try:
            for why in publish_results(self._tracker, ledger).values():
                return why
            self._send_updates(ledger)
        except TrackingError as error:
            return str(error)
        except (sqlite3.Error, OSError) as error:  # of the ledger: the driver's writes fail too
            return str(explanation(error, self._ledger) or error)
        return ""

    def _send_updates(self, ledger: Ledger) -> None:
        """Send live updates, and the page's description.

        Raises:
            TrackingError: MLflow did not take one; it is kept as the next one to send.
        """
        experiment, run = ledger.page(self._tracker.name, *self._page)
        page = SweepPage(experiment, run, self._page[1])
        with contextlib.suppress(queue.Empty):
            while not self._stop.is_set():
                self._next = self._next or self._updates.get_nowait()
                if isinstance(self._next, Ending):
                    self._tracker.close(self._next)
                else:
                    self._tracker.show(page, *self._next)
                self._next = None
        text, self._description = self._description, ""
        if text:
            self._tracker.pages.describe(run, text)

    def _close_ended(self) -> None:
        """Close the runs of trials that ended last, without a result."""
        with contextlib.suppress(TrackingError, queue.Empty):
            while True:
                update, self._next = self._next or self._updates.get_nowait(), None
                if isinstance(update, Ending):
                    self._tracker.close(update)


def publish_results(tracker: Tracker, ledger: Ledger, skip: Collection[str] = ()) -> dict[str, str]:
    """Send all pending results.

    Args:
        tracker: the MLflow to send to.
        ledger: holds the results.
        skip: studies that are left out.

    Returns:
        Why results could not be sent, by study.
    """
    failed: dict[str, str] = {}
    more = False
    pending = sorted(ledger.pending_items(tracker.name), key=_sweep_of)
    for (study, sweep), items in itertools.groupby(pending, _sweep_of):
        if study in failed or study in skip:
            continue
        try:
            more |= _send_sweep(tracker, ledger, study, sweep, list(items))
        except TrackingError as error:
            failed[study] = str(error)
    return failed | (publish_results(tracker, ledger, {*skip, *failed}) if more else {})


def _sweep_of(item: OutboxItem) -> tuple[str, str]:
    return item.study, item.sweep


def _send_sweep(
    tracker: Tracker, ledger: Ledger, study: str, sweep: str, items: Sequence[OutboxItem]
) -> bool:
    """Send results of a sweep; return whether more of its study became pending meanwhile."""
    experiment, run = ledger.page(tracker.name, study, sweep)
    replaced = not tracker.has_page(study, experiment, run, sweep)
    if replaced:  # another database took the place of the old one: the stored ids are wrong
        reconcile(tracker, ledger, study)
        experiment, run = ledger.page(tracker.name, study, sweep)
    page = SweepPage(experiment, run, sweep)
    for i in range(0, len(items), BATCH):
        _send_batch(tracker, ledger, page, items[i : i + BATCH])
    return replaced


def _send_batch(
    tracker: Tracker, ledger: Ledger, page: SweepPage, items: Sequence[OutboxItem]
) -> None:
    """Send a batch of results; mark those that were sent, also if one is refused."""
    batch = tracker.batch(page)
    try:
        with batch:
            for item in items:
                record = ledger.get(item.config_hash, item.stopped_in)
                assert record is not None
                figure = ledger.figure(item.config_hash, item.stopped_in)
                kept = weights.path_of(ledger.path.parent, record)
                batch.add(item.name, record, figure, kept)
    finally:
        ledger.mark_sent(tracker.name, zip(items, batch.written, strict=False))
