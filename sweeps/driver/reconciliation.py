"""Compares the ledger with MLflow: what MLflow lost, or had changed by hand, is owed again.

The ledger is the truth and MLflow its mirror. A study is found by its name and a sweep's
page by its tags: ids that are remembered may mean something else by now.
"""

from dataclasses import dataclass

from sweeps.driver.register import begin_page, page_of
from sweeps.driver.trial_states import planned_of
from sweeps.storage.ledger import Ledger, Page
from sweeps.storage.record import ResultKey
from sweeps.tracking.tracker import Tracker


@dataclass(frozen=True)
class Missing:
    """Count of what MLflow lacked of a study.

    Attributes:
        trials: results that are to be sent again.
        pages: pages of sweeps that were begun anew, or are to be written again.
    """

    trials: int = 0
    pages: int = 0

    def __str__(self) -> str:
        words = [f"{self.trials} trial{'s' * (self.trials != 1)}"] if self.trials else []
        whose = "1 sweep's page" if self.pages == 1 else f"{self.pages} sweeps' pages"
        return " and ".join(words + [whose] * bool(self.pages))


def reconcile(tracker: Tracker, ledger: Ledger, study: str) -> Missing:
    """Find what MLflow lacks of a study, and note in the ledger that it is to be sent again.

    A page that is gone is restored, or else begun anew, at once; it is published with the
    results.

    Raises:
        TrackingError: MLflow does not answer, or the study's experiment was deleted.
    """
    experiment = tracker.experiment(study)
    remembered = ledger.pages(tracker.name, study)
    gone = _pages(tracker, ledger, study, experiment, remembered)
    bare = _bare_pages(tracker, ledger, study, list(remembered))
    lost = _trials(tracker, ledger, study, experiment, look_at_files=bool(bare))
    ledger.mark_unsent(tracker.name, study, lost)
    return Missing(len(lost), len(gone | bare))


def _pages(
    tracker: Tracker, ledger: Ledger, study: str, experiment: str, remembered: dict[str, Page]
) -> set[str]:
    """Have a page for every sweep; names of those whose page was gone or had been changed."""
    there, changed = tracker.presence.pages(experiment), set()
    for sweep, page in remembered.items():
        found = there.get(sweep)
        run = found.run_id if found else _begun(tracker, ledger, study, experiment, sweep, page)
        ledger.set_page(tracker.name, study, sweep, experiment, run)
        # What another machine made of it since is right; RUNNING, it is at work, or will be
        # closed when its lease is over.
        right = {page.status, "FINISHED"} | (set() if tracker.local else {"RUNNING"})
        if found is None or (page.published and found.status not in right):
            ledger.set_published(tracker.name, study, sweep, done=False)
            changed.add(sweep)
    return changed


def _begun(
    tracker: Tracker, ledger: Ledger, study: str, experiment: str, sweep: str, page: Page
) -> str:
    """The run of a page that was gone: from MLflow's bin, or a new one."""
    if tracker.presence.restore_page(experiment, sweep, page.run_id):
        return page.run_id
    entry = ledger.sweep(tracker.name, study, sweep)
    assert entry is not None
    run = begin_page(tracker, experiment, study, sweep, entry.spec, planned_of(entry))
    tracker.replaced_page(experiment, sweep, page.run_id, run)
    return run


def _bare_pages(tracker: Tracker, ledger: Ledger, study: str, sweeps: list[str]) -> set[str]:
    """Names of the sweeps whose page lacks files, which are written again.

    The latest page is looked at; the others too where that one lacks any.
    """
    bare: set[str] = set()
    for sweep in reversed(sweeps):
        entry = ledger.sweep(tracker.name, study, sweep)
        assert entry is not None
        if not tracker.presence.page_has(entry.run_id, ended=entry.published):
            spec = page_of(study, sweep, entry.spec, planned_of(entry))
            tracker.write_spec(entry.run_id, spec)
            ledger.set_published(tracker.name, study, sweep, done=False)
            bare.add(sweep)
        elif not bare:
            break
    return bare


def _trials(
    tracker: Tracker, ledger: Ledger, study: str, experiment: str, *, look_at_files: bool
) -> list[ResultKey]:
    """Keys of the results whose runs are gone, do not say that they ended, or lack artifacts."""
    sent = ledger.sent_runs(tracker.name, study)
    lost: set[str] = set()
    for stopped in (False, True):
        runs = [run for run, key in sent.items() if bool(key.stopped_in) is stopped]
        lost.update(tracker.presence.absent(experiment, runs, stopped=stopped))
    if look_at_files or tracker.local:
        left, kept = set(sent) - lost, ledger.with_weights()
        heavy = {run for run in left if sent[run] in kept}
        lost.update(tracker.presence.bare(experiment, left - heavy))
        lost.update(tracker.presence.bare(experiment, heavy, weights=True))
    return [sent[run] for run in lost]
