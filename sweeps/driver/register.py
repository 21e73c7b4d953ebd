"""How a sweep enters the ledger and MLflow, before anything of it is trained."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweeps.planning.plan import Plan, PlannedTrial, axes_of
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.outbox import OutboxItem
from sweeps.tracking.charts import trials_view
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
    run_id = begin_page(tracker, experiment, planned.study, planned.sweep, spec, planned.trials)
    entry = SweepEntry(planned.study, planned.sweep, spec, experiment, run_id, "RUNNING")
    ledger.open_sweep(tracker.name, entry)
    enqueue(tracker, ledger, entry, planned)
    return entry


def begin_page(
    tracker: Tracker,
    experiment: str,
    study: str,
    sweep: str,
    spec: dict[str, Any],
    trials: Sequence[PlannedTrial],
) -> str:
    """Give a sweep a page in MLflow, or find the one that it has; its run's id.

    Raises:
        TrackingError: MLflow did not take it.
    """
    page = page_of(study, sweep, spec, trials)
    return tracker.begin_sweep(experiment, sweep, page, trials_view(sweep, trials))


def page_of(
    study: str, sweep: str, spec: dict[str, Any], trials: Sequence[PlannedTrial]
) -> dict[str, Any]:
    """Content of `sweep.yaml` on a sweep's page: how it was launched, and its trials.

    `axes` has the values of every key that varies, `files` the texts of a user's config files.
    """
    return {
        "sweep": sweep,
        "study": study,
        "command": spec["command"],
        "search": spec.get("launch", {}).get("search", {"name": "grid"}),
        "axes": axes_of(trial.varying for trial in trials),
        "files": spec.get("sources", {}),
        "trials": {trial.config_hash: trial.name for trial in trials},
    }


def note(tracker: Tracker, ledger: Ledger, entry: SweepEntry, planned: Plan) -> None:
    """Write into the ledger what a sweep under way has come to, and what MLflow is owed of it."""
    ledger.update_spec(tracker.name, entry)
    enqueue(tracker, ledger, entry, planned)


def enqueue(tracker: Tracker, ledger: Ledger, entry: SweepEntry, planned: Plan) -> None:
    """Write into the ledger what MLflow is owed of a sweep."""
    pending_items = [
        OutboxItem(planned.study, t.config_hash, planned.sweep, t.name) for t in planned.trials
    ]
    if stops_early(entry):  # or as this sweep stops it
        pending_items += [replace(item, stopped_in=item.sweep) for item in pending_items]
    ledger.enqueue(tracker.name, pending_items)


def stops_early(entry: SweepEntry) -> bool:
    """Whether the sweep ends trials that do worse than others."""
    early = entry.spec.get("launch", {}).get("early_stopping", {"name": "none"})
    return bool(early["name"] != "none")
