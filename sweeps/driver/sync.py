"""Brings MLflow up to date with the ledger: pending results, and pages of sweeps."""

import contextlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.driver.expired_runs import close_expired_runs
from sweeps.driver.outbox import publish_results
from sweeps.driver.page import publish_page
from sweeps.driver.reconciliation import Missing, reconcile
from sweeps.driver.session import opened
from sweeps.driver.trial_states import outcomes_of_entry, single_sweep
from sweeps.errors import TrackingError
from sweeps.storage.ledger import Ledger
from sweeps.storage.output_root import folder_of, require_record
from sweeps.tracking.tracker import Tracker


@dataclass(frozen=True)
class PendingItems:
    """Results and pages that MLflow has not taken; false when there are none.

    Attributes:
        results, pages: number of results, and of sweeps' pages.
        why: the last reason.
    """

    results: int = 0
    pages: int = 0
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.results or self.pages or self.why)

    def __str__(self) -> str:
        count = str(Missing(self.results, self.pages))
        return f"{count} ({self.why})" if count and self.why else count or self.why


@dataclass
class SyncResult:
    """Result of a synchronisation, by study.

    Attributes:
        sent: number of pending results that were sent.
        resent: what MLflow had lost and was sent again.
        pending: what MLflow has not taken, and why.
    """

    sent: dict[str, int] = field(default_factory=dict)
    resent: dict[str, Missing] = field(default_factory=dict)
    pending: dict[str, PendingItems] = field(default_factory=dict)


def sync_study(
    tracker: Tracker,
    ledger: Ledger,
    studies: Collection[str],
    lease: contextlib.AbstractContextManager[object] | None = None,
) -> SyncResult:
    """Send pending results, and what MLflow lost; publish pages of sweeps that have ended.

    This process holds the output root meanwhile. So a sweep that still says RUNNING was left
    by a driver that died.

    Args:
        tracker: the MLflow to send to.
        ledger: the ledger.
        studies: studies to compare with MLflow.
        lease: the lease to hold meanwhile, since sending may take long.
    """
    before = _pending_results(tracker, ledger)
    lost: dict[str, Missing] = {}
    failed: dict[str, str] = {}
    with lease or contextlib.nullcontext():
        for study in studies:
            try:
                lost[study] = reconcile(tracker, ledger, study)
            except TrackingError as error:
                failed[study] = str(error)
        failed |= publish_results(tracker, ledger, failed)
    failed |= _publish_pages(tracker, ledger, failed)
    return _sync_result(tracker, ledger, before, lost, failed)


def _pending_results(tracker: Tracker, ledger: Ledger) -> Counter[str]:
    """Count the pending results of each study."""
    return Counter(item.study for item in ledger.pending_items(tracker.name))


def _publish_pages(tracker: Tracker, ledger: Ledger, failed: Collection[str]) -> dict[str, str]:
    """Publish pages that do not show yet how their sweep ended; return failures, by study."""
    why: dict[str, str] = {}
    for entry in ledger.unpublished(tracker.name):
        if entry.status == "RUNNING":
            ledger.end_sweep(tracker.name, entry.study, entry.sweep, "KILLED")
    for entry in ledger.unpublished(tracker.name):
        if entry.study in failed or entry.study in why:
            continue
        try:
            outcomes = outcomes_of_entry(entry, ledger, tracker)
            publish_page(
                tracker, ledger, entry, outcomes, folder_of(ledger.path.parent, entry.sweep)
            )
        except TrackingError as error:
            why[entry.study] = str(error)
    return why


def _sync_result(
    tracker: Tracker,
    ledger: Ledger,
    before: Counter[str],
    lost: dict[str, Missing],
    failed: dict[str, str],
) -> SyncResult:
    results = _pending_results(tracker, ledger)
    pages = Counter(entry.study for entry in ledger.unpublished(tracker.name))
    done = SyncResult()
    for study in sorted({*before, *lost, *failed, *results, *pages}):
        if left := PendingItems(results[study], pages[study], failed.get(study, "")):
            done.pending[study] = left
            continue
        if before[study]:
            done.sent[study] = before[study]
        if str(missing := lost.get(study, Missing())):
            done.resent[study] = missing
    return done


def sync(config: LaunchConfig) -> SyncResult:
    """Send pending results, and what MLflow lost, of every study.

    Raises:
        ConfigError: nothing was launched under this output root.
        TrackingError: MLflow cannot be reached.
    """
    require_record(Path(config.paths.output))
    with opened(config) as (tracker, ledger):
        close_expired_runs(tracker, ledger)
        return sync_study(tracker, ledger, ledger.studies(tracker.name))


def rewrite_report(config: LaunchConfig, prefix: str) -> Path:
    """Write a sweep's report again, in its folder and on its MLflow page; return its path.

    Args:
        config: says where the output root and MLflow are.
        prefix: the first digits of the sweep's name.

    Raises:
        ConfigError: no sweep, or more than one, has this prefix.
        TrackingError: MLflow cannot be reached or did not take it.
    """
    require_record(Path(config.paths.output))
    with opened(config) as (tracker, ledger):
        study = single_sweep(ledger.sweeps_like(prefix, tracker.name), prefix).study
        left = sync_study(tracker, ledger, [study]).pending.get(study, PendingItems())
        entry = single_sweep(ledger.sweeps_like(prefix, tracker.name), prefix)
        folder = folder_of(ledger.path.parent, entry.sweep)
        outcomes = outcomes_of_entry(entry, ledger, tracker)
        try:
            return publish_page(tracker, ledger, entry, outcomes, folder)
        except TrackingError as error:
            why = left.why or error
            raise TrackingError(f"{why}; the report is in {folder}") from error
