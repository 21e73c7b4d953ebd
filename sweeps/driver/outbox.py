"""From the ledger to MLflow: a thread that sends what is owed, so that training never waits."""

import contextlib
import functools
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from sweeps.driver.reconciliation import reconcile
from sweeps.driver.trial_states import search_of
from sweeps.errors import TrackingError
from sweeps.execution.events import Live
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.reports import page
from sweeps.reports.figures import Study
from sweeps.reports.page import ReportHeader
from sweeps.search.summary import summarize
from sweeps.storage import weights
from sweeps.storage.disk_errors import explanation
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.outbox import OutboxItem
from sweeps.storage.record import Columns
from sweeps.tracking import pages
from sweeps.tracking.live_runs import Ending, Page
from sweeps.tracking.sweep_description import describe
from sweeps.tracking.tracker import Tracker

# Points of a trial that is training, or that it ended without a result.
News = tuple[PlannedTrial, Live] | Ending
# Seconds until a store that did not answer is tried again.
RETRY_AFTER = 20.0
# Results after which the ledger notes that they were sent.
TOGETHER = 16


class OutboxWorker:
    """Sends results as they come; a context manager. The only one who writes to MLflow.

    What MLflow does not take stays owed in the ledger, and is sent when it is back.
    """

    def __init__(
        self,
        tracker: Tracker,
        ledger: Path,
        page: tuple[str, str],
        say: Callable[[str], None],
    ) -> None:
        """Send nothing yet.

        Args:
            tracker: to this MLflow.
            ledger: from this file.
            page: study and name of the sweep that trains.
            say: told why MLflow does not take results, or "" when it does, after every
                attempt. It is called in the shipper's thread.
        """
        self._tracker, self._ledger, self._say, self._page = tracker, ledger, say, page
        # What is not in the ledger: it is sent once more with the result, and may be lost.
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._next: News | None = None
        self._text = ""
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="shipper", daemon=True)

    def __enter__(self) -> "OutboxWorker":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def notify(self) -> None:
        """There is a new result."""
        self._wake.set()

    def show(self, trial: PlannedTrial, live: Live) -> None:
        """There are new points of a trial that is still training."""
        self._news.put((trial, live))
        self._wake.set()

    def close(self, config_hash: str, status: str, reason: str, by: str = "") -> None:
        """Close the run of a trial that has ended without a result, where it was shown."""
        self._news.put(Ending(config_hash, status, reason, by))
        self._wake.set()

    def describe(self, text: str) -> None:
        """Write how the sweep stands on its page."""
        self._text = text
        self._wake.set()

    def _work(self) -> None:
        with contextlib.closing(Ledger(self._ledger)) as ledger:
            why = ""
            while not self._stop.is_set():
                self._wake.wait(RETRY_AFTER if why else None)
                self._wake.clear()
                why = self._send(ledger)
                self._say(why)
            self._close_ended()

    def _send(self, ledger: Ledger) -> str:
        """Send results and news; why they could not be sent, or empty."""
        try:
            return next(iter(publish_results(self._tracker, ledger).values()), "") or self._show(
                ledger
            )
        except (sqlite3.Error, OSError) as error:  # of the ledger: the driver's own writes fail too
            return str(explanation(error, self._ledger) or error)

    def _close_ended(self) -> None:
        """Close the runs of the trials that ended last without a result."""
        with contextlib.suppress(TrackingError, queue.Empty):
            while True:
                news, self._next = self._next or self._news.get_nowait(), None
                if isinstance(news, Ending):
                    self._tracker.close(news)

    def _show(self, ledger: Ledger) -> str:
        """Send the news of trials under way; why MLflow did not take it, or empty."""
        experiment, run = ledger.page(self._tracker.name, *self._page)
        page = Page(experiment, run, self._page[1])
        try:
            while not self._stop.is_set():
                if self._next is None:
                    self._next = self._news.get_nowait()
                self._tell(page, self._next)
                self._next = None
        except queue.Empty:
            pass
        except TrackingError as error:
            return str(error)
        return self._describe(run)

    def _tell(self, page: Page, news: News) -> None:
        if isinstance(news, Ending):
            self._tracker.close(news)
        else:
            self._tracker.show(page, *news)

    def _describe(self, run: str) -> str:
        text, self._text = self._text, ""
        try:
            if text:
                self._tracker.describe(run, text)
        except TrackingError as error:
            return str(error)
        return ""


def publish_results(tracker: Tracker, ledger: Ledger, skip: Collection[str] = ()) -> dict[str, str]:
    """Send every result that is owed.

    Args:
        tracker: where to.
        ledger: where from.
        skip: studies that are not tried.

    Returns:
        Why results of a study could not be sent, by the study.
    """
    failed: dict[str, str] = {}
    again = False
    pending_items = sorted(ledger.pending_items(tracker.name), key=_page_of)
    for (study, sweep), items in itertools.groupby(pending_items, _page_of):
        if study in failed or study in skip:
            continue
        try:
            again |= _send(tracker, ledger, study, sweep, items)
        except TrackingError as error:
            failed[study] = str(error)
    return failed | (publish_results(tracker, ledger, {*skip, *failed}) if again else {})


def _page_of(pending_items: OutboxItem) -> tuple[str, str]:
    return pending_items.study, pending_items.sweep


def _send(
    tracker: Tracker, ledger: Ledger, study: str, sweep: str, items: Iterable[OutboxItem]
) -> bool:
    """Send results of a sweep; whether more is owed of its study than was known before."""
    experiment, page = ledger.page(tracker.name, study, sweep)
    replaced = not tracker.has_page(study, experiment, page, sweep)
    if replaced:  # by another database, say: ids that are remembered mean something else
        reconcile(tracker, ledger, study)
        experiment, page = ledger.page(tracker.name, study, sweep)
    waiting = list(items)
    for i in range(0, len(waiting), TOGETHER):
        _send_some(tracker, ledger, Page(experiment, page, sweep), waiting[i : i + TOGETHER])
    return replaced


def _send_some(tracker: Tracker, ledger: Ledger, page: Page, items: Iterable[OutboxItem]) -> None:
    """Send results of a sweep; what their runs trained on is sent for all together."""
    sent: list[tuple[OutboxItem, str]] = []
    data: dict[str, dict[str, Any]] = {}
    try:
        for item in items:
            record = ledger.get(item.config_hash, item.stopped_in)
            assert record is not None
            figure = ledger.figure(item.config_hash, item.stopped_in)
            kept = weights.path_of(ledger.path.parent, record)
            run = tracker.publish_results(
                page.experiment, page.run, page.sweep, item.name, record, figure, kept
            )
            sent.append((item, run))
            data[run] = record.config["data"]
    finally:  # also of those that were sent before one was not taken
        tracker.inputs.log(page.experiment, data)
        for item, run in sent:
            ledger.mark_sent(tracker.name, item, run)


def publish(
    tracker: Tracker, ledger: Ledger, entry: SweepEntry, lines: list[TrialOutcome], folder: Path
) -> Path:
    """Write a sweep's report, and its page in MLflow, and close its run.

    Args:
        tracker: where the page is.
        ledger: where the trajectories are, and the page is noted as published.
        entry: the sweep.
        lines: what came of its trials.
        folder: where the report's files go.

    Returns:
        The report's path.

    Raises:
        TrackingError: MLflow did not take it; the files are there.
    """
    links = tracker.links(entry.experiment, entry.sweep, entry.run_id)
    search = search_of(entry)
    text = describe(entry.spec["command"], lines, links, summarize(search, lines))
    files = report_of(entry, lines, trajectories(entry, ledger, tracker))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    points, stopped_by = pages.points(lines, search), entry.spec.get("stopped_by", "")
    tracker.end_sweep(entry.run_id, entry.status, text, points, folder, files, stopped_by)
    ledger.set_published(tracker.name, entry.study, entry.sweep)
    return folder / "report.html"


def trajectories(
    entry: SweepEntry, ledger: Ledger, tracker: Tracker
) -> Callable[[str], Columns | None]:
    """Look up the trajectory of a sweep's trial, by its hash: in the ledger, else in MLflow."""

    @functools.cache
    def found(config_hash: str) -> Columns | None:
        held = ledger.trajectory(config_hash, entry.sweep)
        if held is None:
            with contextlib.suppress(TrackingError):
                return tracker.trajectory(entry.experiment, config_hash)
        return held

    return found


def report_of(
    entry: SweepEntry, lines: list[TrialOutcome], trajectory: Callable[[str], Columns | None]
) -> dict[str, bytes | str]:
    """A sweep's report, file by file; `trajectory` gives a trial's by its config hash."""
    heading = ReportHeader(entry.sweep, entry.study, entry.spec["command"], entry.spec["figure"])
    study = Study([line for line in lines if line.finished], trajectory, search_of(entry))
    return page.files(heading, study, lines)
