"""How a sweep enters the ledger and MLflow, before anything of it is trained."""

from dataclasses import replace
from typing import Any

from sweeps.ledger import Ledger, Owed, SweepEntry
from sweeps.planning import Plan
from sweeps.record import stopped_key
from sweeps.tracking import pages
from sweeps.tracking.tracker import Tracker


def enter(
    tracker: Tracker, ledger: Ledger, experiment: str, planned: Plan, spec: dict[str, Any]
) -> SweepEntry:
    """Write the sweep into the ledger and give it a page in MLflow.

    Raises:
        TrackingError: MLflow did not take it.
    """
    before = ledger.sweep(tracker.name, planned.study, planned.sweep)
    if before and not planned.left and before.status == "FINISHED":
        return before  # nothing to do, and its page says so already
    page = {
        "sweep": planned.sweep,
        "study": planned.study,
        "command": spec["command"],
        "search": spec["launch"]["search"],
        "trials": {trial.config_hash: trial.name for trial in planned.trials},
    }
    view = pages.trials_view(planned.sweep, planned.trials)
    run_id = tracker.begin_sweep(experiment, planned.sweep, page, view)
    entry = SweepEntry(planned.study, planned.sweep, spec, experiment, run_id, "RUNNING")
    note(tracker, ledger, entry, planned)
    return entry


def note(tracker: Tracker, ledger: Ledger, entry: SweepEntry, planned: Plan) -> None:
    """Write into the ledger what the sweep has come to, and what MLflow is owed of it."""
    ledger.open_sweep(tracker.name, entry)
    owed = [Owed(planned.study, t.config_hash, planned.sweep, t.name) for t in planned.trials]
    if stops_early(entry):  # or as this sweep stops it
        owed += [replace(o, config_hash=stopped_key(o.config_hash, o.sweep)) for o in owed]
    ledger.owe(tracker.name, owed)


def stops_early(entry: SweepEntry) -> bool:
    """Whether the sweep ends trials that do worse than others."""
    early = entry.spec.get("launch", {}).get("early_stopping", {"name": "none"})
    return bool(early["name"] != "none")
