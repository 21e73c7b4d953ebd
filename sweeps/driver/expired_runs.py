"""Runs that dead drivers left RUNNING in an experiment are closed by whoever works there next."""

import contextlib
from pathlib import Path

from sweeps.config.request import LaunchConfig
from sweeps.errors import TrackingError
from sweeps.storage.ledger import Ledger, reading
from sweeps.storage.output_root import LEDGER
from sweeps.tracking.server import check_server
from sweeps.tracking.tracker import Tracker


def close_expired_runs(tracker: Tracker, ledger: Ledger, *experiments: str) -> list[str]:
    """Close what dead drivers, of whatever machine, left RUNNING; a sentence on each.

    Looked for in these experiments and in those of the ledger's studies. A store
    that is gone, or that will not have it of us, is no error.
    """
    said: list[str] = []
    with contextlib.suppress(TrackingError):
        there = {tracker.find_experiment(study) for study in ledger.studies(tracker.name)} - {""}
        for experiment in sorted({*experiments, *there}):
            said += tracker.close_expired_runs(experiment)
            if tracker.local:  # this process holds the output root: no trial trains there
                tracker.close_running(experiment)
    return said


def close_expired_on_server(config: LaunchConfig) -> list[str]:
    """The same on the server that a command names, if it names one and that answers."""
    output = Path(config.paths.output)
    if config.tracking.name == "local" or not (output / LEDGER).exists():
        return []
    try:
        check_server(config.tracking)
    except TrackingError:
        return []
    with reading(output / LEDGER) as ledger:
        return close_expired_runs(Tracker(config.tracking, output), ledger)
