"""What is owed to MLflow at the ends of a sweep: results, and pages that say how it stands."""

import contextlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.config.request import LaunchConfig
from sweeps.driver.expired_runs import close_expired_runs
from sweeps.driver.outbox import publish, publish_results
from sweeps.driver.reconciliation import Missing, reconcile
from sweeps.driver.session import opened
from sweeps.driver.trial_states import only, outcomes_of_entry
from sweeps.errors import TrackingError
from sweeps.storage.ledger import Ledger
from sweeps.storage.output_root import folder_of, require_record
from sweeps.tracking.tracker import Tracker


@dataclass(frozen=True)
class PendingItems:
    """Results and pages that MLflow has not taken; false when there are none.

    Attributes:
        results, pages: how many results, and how many pages of sweeps.
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
    """Outcome of a synchronisation, by study.

    Attributes:
        sent: how many results waited and were sent.
        again: what MLflow had lost and was sent again.
        unsent: what MLflow has not taken, and why.
    """

    sent: dict[str, int] = field(default_factory=dict)
    again: dict[str, Missing] = field(default_factory=dict)
    unsent: dict[str, PendingItems] = field(default_factory=dict)


def sync_study(
    tracker: Tracker,
    ledger: Ledger,
    studies: Collection[str],
    lease: contextlib.AbstractContextManager[object] | None = None,
) -> SyncResult:
    """Send what is owed, and what MLflow has lost; close the pages of sweeps nobody works on.

    Called while this process holds the output root, so a sweep that still says RUNNING was
    left by a driver that died.

    Args:
        tracker: the MLflow to send to.
        ledger: where from.
        studies: those that are compared with what MLflow holds of them.
        lease: held meanwhile, for what is owed by now may take long.
    """
    waited = Counter(pending_items.study for pending_items in ledger.pending_items(tracker.name))
    lost: dict[str, Missing] = {}
    failed: dict[str, str] = {}
    with lease or contextlib.nullcontext():
        for study in studies:
            try:
                lost[study] = reconcile(tracker, ledger, study)
            except TrackingError as error:
                failed[study] = str(error)
        failed |= publish_results(tracker, ledger, failed)
    failed |= _publish_all(tracker, ledger, failed)
    return _settled(tracker, ledger, waited, lost, failed)


def _publish_all(tracker: Tracker, ledger: Ledger, failed: Collection[str]) -> dict[str, str]:
    """Publish the pages that do not say how their sweep ended; why not, by study."""
    why: dict[str, str] = {}
    for entry in ledger.unpublished(tracker.name):
        if entry.status == "RUNNING":
            ledger.end_sweep(tracker.name, entry.study, entry.sweep, "KILLED")
    for entry in ledger.unpublished(tracker.name):
        if entry.study in failed or entry.study in why:
            continue
        try:
            lines = outcomes_of_entry(entry, ledger, tracker)
            publish(tracker, ledger, entry, lines, folder_of(ledger.path.parent, entry.sweep))
        except TrackingError as error:
            why[entry.study] = str(error)
    return why


def _settled(
    tracker: Tracker,
    ledger: Ledger,
    waited: Counter[str],
    lost: dict[str, Missing],
    failed: dict[str, str],
) -> SyncResult:
    results = Counter(pending_items.study for pending_items in ledger.pending_items(tracker.name))
    pages = Counter(entry.study for entry in ledger.unpublished(tracker.name))
    done = SyncResult()
    for study in sorted({*waited, *lost, *failed, *results, *pages}):
        left = PendingItems(results[study], pages[study], failed.get(study, ""))
        if left:
            done.unsent[study] = left
        else:
            done.sent |= {study: waited[study]} if waited[study] else {}
            found = lost.get(study, Missing())
            done.again |= {study: found} if found.trials or found.pages else {}
    return done


def sync(config: LaunchConfig) -> SyncResult:
    """Send what MLflow is owed or has lost, of every study.

    Raises:
        ConfigError: nothing was launched under this output root.
        TrackingError: MLflow cannot be reached.
    """
    require_record(Path(config.paths.output))
    with opened(config) as (tracker, ledger):
        close_expired_runs(tracker, ledger)
        return sync_study(tracker, ledger, ledger.studies(tracker.name))


def rewrite_report(config: LaunchConfig, prefix: str) -> Path:
    """Write a sweep's report anew, here and into its MLflow page.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
        TrackingError: MLflow cannot be reached or did not take it.
    """
    require_record(Path(config.paths.output))
    with opened(config) as (tracker, ledger):
        study = only(ledger.sweeps_like(prefix, tracker.name), prefix).study
        left = sync_study(tracker, ledger, [study]).unsent.get(study, PendingItems())
        entry = only(ledger.sweeps_like(prefix, tracker.name), prefix)
        folder = folder_of(ledger.path.parent, entry.sweep)
        lines = outcomes_of_entry(entry, ledger, tracker)
        try:
            return publish(tracker, ledger, entry, lines, folder)
        except TrackingError as error:
            why = left.why or error
            raise TrackingError(f"{why}; the report is in {folder}") from error
