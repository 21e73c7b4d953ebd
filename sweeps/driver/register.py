"""Registers a sweep in the ledger and in MLflow before anything of it is trained."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweeps.config.places import placed, places_by_content
from sweeps.planning.plan import Plan, PlannedTrial, axes_of
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.outbox import OutboxItem
from sweeps.tracking.charts import trials_view
from sweeps.tracking.tracker import Tracker


def register_sweep(
    tracker: Tracker, ledger: Ledger, experiment: str, planned: Plan, spec: dict[str, Any]
) -> SweepEntry:
    """Write a sweep into the ledger and give it a page in MLflow.

    Args:
        tracker: the MLflow to record in.
        ledger: the ledger.
        experiment: id of the study's experiment.
        planned: the sweep's first plan.
        spec: the sweep's command, launch config and trials, as plain data.

    Returns:
        The sweep's entry; the one from before if it finished with these trials.

    Raises:
        TrackingError: MLflow did not take it.
    """
    before = ledger.sweep(tracker.name, planned.study, planned.sweep)
    finished = before is not None and before.status == "FINISHED" and not planned.left
    if before and finished and _hashes(before) == {each.config_hash for each in planned.trials}:
        return _with_places(tracker, ledger, before, planned)
    run_id = begin_page(tracker, experiment, planned.study, planned.sweep, spec, planned.trials)
    entry = SweepEntry(
        planned.study, planned.sweep, spec, experiment, run_id, "RUNNING", tracker.name
    )
    ledger.open_sweep(tracker.name, entry)
    enqueue(tracker, ledger, entry, planned)
    return entry


def _with_places(tracker: Tracker, ledger: Ledger, before: SweepEntry, planned: Plan) -> SweepEntry:
    """Store where the data of a finished sweep lie now, for `resume` and `reproduce`."""
    places = places_by_content(trial.plain for trial in planned.trials)
    old = {key: before.spec.get(key, []) for key in ("trials", "cells")}
    new = {
        key: [trial | {"plain": placed(trial["plain"], places)} for trial in trials]
        for key, trials in old.items()
    }
    if new == old:
        return before
    entry = replace(before, spec=before.spec | new)
    ledger.update_spec(tracker.name, entry)
    return entry


def update_sweep(tracker: Tracker, ledger: Ledger, entry: SweepEntry, planned: Plan) -> None:
    """Write a running sweep's new spec into the ledger, and enqueue its new trials.

    Args:
        tracker: the MLflow that the results are for.
        ledger: the ledger.
        entry: the sweep, with its new spec.
        planned: the plan of its next round.
    """
    ledger.update_spec(tracker.name, entry)
    enqueue(tracker, ledger, entry, planned)


def begin_page(
    tracker: Tracker,
    experiment: str,
    study: str,
    sweep: str,
    spec: dict[str, Any],
    trials: Sequence[PlannedTrial],
) -> str:
    """Give a sweep a page in MLflow if it has none; return the id of the page's run.

    Args:
        tracker: the MLflow to record in.
        experiment: id of the study's experiment.
        study: name of the study.
        sweep: name of the sweep.
        spec: the sweep's command, launch config and trials, as plain data.
        trials: the sweep's trials.

    Raises:
        TrackingError: MLflow did not take it.
    """
    page = page_spec(study, sweep, spec, trials)
    return tracker.pages.begin(experiment, sweep, page, trials_view(sweep, trials))


def page_spec(
    study: str, sweep: str, spec: dict[str, Any], trials: Sequence[PlannedTrial]
) -> dict[str, Any]:
    """Return the content of `sweep.yaml` on a sweep's page: its launch and its trials.

    `axes` has the values of every key that varies, `files` the text of the user's config files.
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


def enqueue(tracker: Tracker, ledger: Ledger, entry: SweepEntry, planned: Plan) -> None:
    """Put the results of a sweep's trials, present and future, into the ledger's outbox.

    Args:
        tracker: the MLflow that the results are for.
        ledger: the ledger.
        entry: the sweep.
        planned: the plan with its trials.
    """
    items = [
        OutboxItem(planned.study, t.config_hash, planned.sweep, t.name) for t in planned.trials
    ]
    if stops_early(entry):  # also the results of trials that this sweep stops
        items += [replace(item, stopped_in=item.sweep) for item in items]
    ledger.enqueue(tracker.name, items)


def _hashes(entry: SweepEntry) -> set[str]:
    return {trial["config_hash"] for trial in entry.spec["trials"]}


def stops_early(entry: SweepEntry) -> bool:
    """Return whether the sweep has early stopping."""
    early = entry.spec.get("launch", {}).get("early_stopping", {"name": "none"})
    return bool(early["name"] != "none")
