"""What is owed to MLflow at the ends of a sweep: results, and pages that say how it stands."""

import contextlib
from pathlib import Path

from sweeps.config import LaunchConfig
from sweeps.errors import TrackingError
from sweeps.known import lines_of_entry
from sweeps.ledger import Ledger
from sweeps.output_root import folder_of, has_record, ledger_path, only, opened
from sweeps.reaping import reap
from sweeps.shipping import publish, ship
from sweeps.tracking.tracker import Tracker


def settle(
    tracker: Tracker, ledger: Ledger, lease: contextlib.AbstractContextManager[object] | None = None
) -> int:
    """Send what is owed and close the pages of sweeps nobody works on; how much is unsent.

    Called while this process holds the output root, so a sweep that still says RUNNING was
    left by a driver that died.
    """
    with lease or contextlib.nullcontext():  # what is owed by now may take long
        unsent = ship(tracker, ledger)
    for entry in ledger.unpublished(tracker.name):
        if entry.status == "RUNNING":
            ledger.end_sweep(tracker.name, entry.study, entry.sweep, "KILLED")
    if not unsent:
        with contextlib.suppress(TrackingError):  # gone again: the pages wait for the next time
            for entry in ledger.unpublished(tracker.name):
                lines = lines_of_entry(entry, ledger, tracker)
                publish(tracker, ledger, entry, lines, folder_of(ledger.path.parent, entry.sweep))
    return unsent


def sync(config: LaunchConfig) -> int:
    """Ship what MLflow is owed; how many results it did not take.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    if not ledger_path(config).exists():
        return 0
    with opened(config) as (tracker, ledger):
        reap(tracker, ledger)
        return settle(tracker, ledger)


def rewrite_report(config: LaunchConfig, prefix: str) -> Path:
    """Write a sweep's report anew, here and into its MLflow page.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
        TrackingError: MLflow cannot be reached or did not take it.
    """
    has_record(Path(config.paths.output))
    with opened(config) as (tracker, ledger):
        settle(tracker, ledger)
        entry = only(ledger.sweeps_like(prefix, tracker.name), prefix)
        folder = folder_of(ledger.path.parent, entry.sweep)
        lines = lines_of_entry(entry, ledger, tracker)
        path = publish(tracker, ledger, entry, lines, folder)
        if path is None:
            raise TrackingError(f"MLflow did not take the report; it is in {folder}")
        return path
