"""A sweep's report and its page in MLflow."""

import contextlib
import csv
import functools
from collections.abc import Callable
from pathlib import Path

from sweeps.driver.register import page_spec
from sweeps.driver.trial_states import planned_of, search_of
from sweeps.errors import TrackingError
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports import html_report
from sweeps.reports.figures import Study
from sweeps.reports.html_report import ReportHeader
from sweeps.search.registry import summarize
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.record import Columns
from sweeps.tracking import sweep_metrics
from sweeps.tracking.sweep_description import describe
from sweeps.tracking.tracker import Tracker


def publish_page(
    tracker: Tracker, ledger: Ledger, entry: SweepEntry, outcomes: list[TrialOutcome], folder: Path
) -> Path:
    """Write a sweep's report, and its page in MLflow, and close the page's run.

    Args:
        tracker: the MLflow that has the page.
        ledger: holds the trajectories; it notes that the page is published.
        entry: the sweep.
        outcomes: outcome of each trial.
        folder: folder for the report's files.

    Returns:
        Path of the report.

    Raises:
        TrackingError: MLflow did not take the page; the files are written.
    """
    addresses = tracker.links(entry.experiment, entry.sweep, entry.run_id)
    # Relative: the page may be served at another address than the one printed.
    links = {name: f"#{address.partition('#')[2]}" for name, address in addresses.items()}
    search = search_of(entry)
    text = describe(entry.spec["command"], outcomes, links, summarize(search, outcomes))
    files = report_files(entry, outcomes, trajectory_lookup(entry, ledger, tracker))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    points = sweep_metrics.points(outcomes, search)
    stopped_by = entry.spec.get("stopped_by", "")
    if entry.spec.get("cells"):  # a search has asked for more trials since the page was begun
        spec = page_spec(entry.study, entry.sweep, entry.spec, planned_of(entry))
        tracker.pages.write_spec(entry.run_id, spec)
    tracker.pages.end(entry.run_id, entry.status, text, points, folder, files, stopped_by)
    ledger.set_published(tracker.name, entry.study, entry.sweep)
    return folder / "report.html"


def is_stale(folder: Path, outcomes: list[TrialOutcome]) -> bool:
    """Return whether the report in a folder is missing or has other trials or statuses than these.

    Args:
        folder: folder of the report's files.
        outcomes: outcome of each trial.
    """
    path = folder / "trials.csv"
    if not path.is_file():
        return True
    with path.open(newline="") as file:
        written = {row["config_hash"]: row["status"] for row in csv.DictReader(file)}
    return written != {each.planned.config_hash: each.status for each in outcomes}


def trajectory_lookup(
    entry: SweepEntry, ledger: Ledger, tracker: Tracker
) -> Callable[[str], Columns | None]:
    """Return a function from a config hash to the trial's trajectory, or None if there is none.

    It looks in the ledger first, then in MLflow.
    """

    @functools.cache
    def lookup(config_hash: str) -> Columns | None:
        columns = ledger.trajectory(config_hash, entry.sweep)
        if columns is None:
            with contextlib.suppress(TrackingError):
                return tracker.trajectory(entry.experiment, config_hash)
        return columns

    return lookup


def report_files(
    entry: SweepEntry, outcomes: list[TrialOutcome], trajectory: Callable[[str], Columns | None]
) -> dict[str, bytes | str]:
    """Return the content of a sweep's report files, by file name.

    Args:
        entry: the sweep.
        outcomes: outcome of each trial.
        trajectory: returns a trial's trajectory for its config hash, or None.
    """
    header = ReportHeader(entry.sweep, entry.study, entry.spec["command"], entry.spec["figure"])
    study = Study(
        [outcome for outcome in outcomes if outcome.finished], trajectory, search_of(entry)
    )
    return html_report.files(header, study, outcomes)
