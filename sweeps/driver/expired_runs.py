"""Closes runs in MLflow that still say RUNNING although their driver has died."""

import contextlib
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.driver.interruption import InterruptionNotes
from sweeps.errors import TrackingError
from sweeps.storage.ledger import Ledger, reading
from sweeps.storage.output_root import LEDGER
from sweeps.tracking.server import check_server
from sweeps.tracking.tracker import Tracker


def close_expired_runs(tracker: Tracker, ledger: Ledger, *experiments: str) -> list[str]:
    """Close the runs that dead drivers, of any machine, left RUNNING.

    An MLflow that is away, or that refuses this user, is no error.

    Args:
        tracker: the MLflow.
        ledger: the experiments of its studies are searched.
        experiments: ids of further experiments to search.

    Returns:
        A sentence on each run that was closed.
    """
    sentences: list[str] = []
    with contextlib.suppress(TrackingError):
        ids = {tracker.find_experiment(study) for study in ledger.studies(tracker.name)} - {""}
        for experiment in sorted({*experiments, *ids}):
            sentences += tracker.close_expired_runs(experiment)
            if tracker.local:  # this process holds the output root: no trial trains there
                tracker.close_running(experiment, InterruptionNotes(ledger, tracker.name))
    return sentences


def close_expired_on_server(config: LaunchConfig) -> list[str]:
    """Close expired runs on the server that a command names, if it names one that answers.

    Returns:
        A sentence on each run that was closed.
    """
    output = Path(config.paths.output)
    if config.tracking.name == "local" or not (output / LEDGER).exists():
        return []
    try:
        check_server(config.tracking)
    except TrackingError:
        return []
    with reading(output / LEDGER) as ledger:
        return close_expired_runs(Tracker(config.tracking, output), ledger)
