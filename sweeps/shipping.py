"""From the ledger to MLflow: a thread that sends what is owed, so that training never waits."""

import contextlib
import functools
import threading
from collections.abc import Callable
from pathlib import Path

from sweeps import report_page
from sweeps.config import search_from_plain
from sweeps.errors import TrackingError
from sweeps.figures import Study
from sweeps.ledger import Ledger, SweepEntry
from sweeps.record import Columns
from sweeps.report import Line
from sweeps.report_page import Heading
from sweeps.search.config import SearchConfig
from sweeps.search.findings import findings
from sweeps.tracking import pages
from sweeps.tracking.tracker import Tracker

# Seconds until a store that did not answer is tried again.
RETRY_AFTER = 20.0


class Shipper:
    """Sends results as they come; a context manager. The only one who writes to MLflow.

    What MLflow does not take stays owed in the ledger, and is sent when it is back.
    """

    def __init__(self, tracker: Tracker, ledger: Path) -> None:
        self._tracker, self._ledger = tracker, ledger
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="shipper", daemon=True)

    def __enter__(self) -> "Shipper":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def notify(self) -> None:
        """There is a new result."""
        self._wake.set()

    def _work(self) -> None:
        with contextlib.closing(Ledger(self._ledger)) as ledger:
            pause = None
            while not self._stop.is_set():
                self._wake.wait(pause)
                self._wake.clear()
                pause = RETRY_AFTER if ship(self._tracker, ledger) else None


def ship(tracker: Tracker, ledger: Ledger) -> int:
    """Send every result that is owed; how many could not be sent."""
    owed = ledger.owed(tracker.name)
    for i, item in enumerate(owed):
        record = ledger.get(item.config_hash)
        assert record is not None
        experiment, page = ledger.page(tracker.name, item.study, item.sweep)
        figure = ledger.figure(item.config_hash)
        try:
            run_id = tracker.ship(experiment, page, item.sweep, item.name, record, figure)
        except TrackingError:
            return len(owed) - i
        ledger.shipped(tracker.name, item, run_id)
    return 0


def publish(
    tracker: Tracker, ledger: Ledger, entry: SweepEntry, lines: list[Line], folder: Path
) -> Path | None:
    """Write a sweep's report, and its page in MLflow, and close its run.

    Args:
        tracker: where the page is.
        ledger: where the trajectories are, and the page is noted as published.
        entry: the sweep.
        lines: what came of its trials.
        folder: where the report's files go.

    Returns:
        The report's path; None when MLflow did not take it.
    """
    links = tracker.links(entry.experiment, entry.sweep, entry.run_id)
    search = search_of(entry)
    text = pages.describe(entry.spec["command"], lines, links, findings(search, lines))
    files = report_of(entry, lines, functools.partial(ledger.trajectory_in, entry.sweep))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    try:
        tracker.end_sweep(
            entry.run_id, entry.status, text, pages.points(lines, search), folder, files
        )
    except TrackingError:
        return None
    ledger.published(tracker.name, entry.study, entry.sweep)
    return folder / "report.html"


def report_of(
    entry: SweepEntry, lines: list[Line], trajectory: Callable[[str], Columns | None]
) -> dict[str, bytes | str]:
    """A sweep's report, file by file; `trajectory` gives a trial's by its config hash."""
    heading = Heading(entry.sweep, entry.study, entry.spec["command"], entry.spec["figure"])
    study = Study([line for line in lines if line.finished], trajectory, search_of(entry))
    return report_page.files(heading, study, lines)


def search_of(entry: SweepEntry) -> SearchConfig:
    """How a sweep was searched."""
    return search_from_plain(entry.spec.get("launch", {}).get("search", {"name": "grid"}))
