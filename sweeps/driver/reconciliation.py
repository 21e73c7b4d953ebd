"""Compares MLflow with the ledger; what MLflow lost, or a user changed there, is sent again.

The ledger is the truth and MLflow its mirror. A study is found by its name and a sweep's page
by its tags, since ids that the ledger remembers may belong to something else by now.
"""

from dataclasses import dataclass

from sweeps.config.texts import count_noun
from sweeps.driver.register import begin_page, page_spec
from sweeps.driver.trial_states import planned_of
from sweeps.storage.ledger import Ledger, Page
from sweeps.storage.record import ResultKey
from sweeps.tracking.tracker import Tracker


@dataclass(frozen=True)
class Missing:
    """Number of things of a study that MLflow lacks.

    Attributes:
        trials: number of results to send again.
        pages: number of sweeps' pages to create or write again.
    """

    trials: int = 0
    pages: int = 0

    def __str__(self) -> str:
        words = [count_noun(self.trials, "trial")] if self.trials else []
        pages = "1 sweep's page" if self.pages == 1 else f"{self.pages} sweeps' pages"
        return " and ".join(words + [pages] * bool(self.pages))


def reconcile(tracker: Tracker, ledger: Ledger, study: str) -> Missing:
    """Find what MLflow lacks of a study, and mark it in the ledger as pending.

    A page that is gone is restored or created at once; its content is sent with the results.

    Raises:
        TrackingError: MLflow does not answer, or the study's experiment was deleted.
    """
    experiment = tracker.experiment(study)
    pages = ledger.pages(tracker.name, study)
    gone = _find_pages(tracker, ledger, study, experiment, pages)
    incomplete = _incomplete_pages(tracker, ledger, study, list(pages))
    lost = _lost_results(tracker, ledger, study, experiment, check_files=bool(incomplete))
    ledger.mark_pending(tracker.name, study, lost)
    return Missing(len(lost), len(gone | incomplete))


def _find_pages(
    tracker: Tracker, ledger: Ledger, study: str, experiment: str, pages: dict[str, Page]
) -> set[str]:
    """Find or create each sweep's page; return the sweeps whose page was gone or changed."""
    runs, changed = tracker.presence.pages(experiment), set()
    for sweep, page in pages.items():
        run = runs.get(sweep)
        run_id = run.run_id if run else _new_page(tracker, ledger, study, experiment, sweep, page)
        ledger.set_page(tracker.name, study, sweep, experiment, run_id)
        # Another machine may have finished the sweep. RUNNING on a server: that machine works
        # on it, or its run will be closed when its lease has expired.
        expected = {page.status, "FINISHED"} | (set() if tracker.local else {"RUNNING"})
        if run is None or (page.published and run.status not in expected):
            ledger.set_published(tracker.name, study, sweep, done=False)
            changed.add(sweep)
    return changed


def _new_page(
    tracker: Tracker, ledger: Ledger, study: str, experiment: str, sweep: str, page: Page
) -> str:
    """Restore a page that is gone from MLflow's trash, or create it; return its run's id."""
    if tracker.presence.restore_page(experiment, sweep, page.run_id):
        return page.run_id
    entry = ledger.sweep(tracker.name, study, sweep)
    assert entry is not None
    run_id = begin_page(tracker, experiment, study, sweep, entry.spec, planned_of(entry))
    tracker.pages.replace(experiment, sweep, page.run_id, run_id)
    return run_id


def _incomplete_pages(tracker: Tracker, ledger: Ledger, study: str, sweeps: list[str]) -> set[str]:
    """Mark pages that lack files to be written again; return their sweeps.

    Only the latest page is checked; the others are checked if the latest one lacks a file.
    """
    incomplete: set[str] = set()
    for sweep in reversed(sweeps):
        entry = ledger.sweep(tracker.name, study, sweep)
        assert entry is not None
        if not tracker.presence.page_has_files(entry.run_id, ended=entry.published):
            spec = page_spec(study, sweep, entry.spec, planned_of(entry))
            tracker.pages.write_spec(entry.run_id, spec)
            ledger.set_published(tracker.name, study, sweep, done=False)
            incomplete.add(sweep)
        elif not incomplete:
            break
    return incomplete


def _lost_results(
    tracker: Tracker, ledger: Ledger, study: str, experiment: str, *, check_files: bool
) -> list[ResultKey]:
    """Return keys of results whose run is gone, is not marked as ended, or lacks artifacts."""
    sent = ledger.sent_runs(tracker.name, study)
    lost: set[str] = set()
    for stopped in (False, True):
        runs = [run for run, key in sent.items() if bool(key.stopped_in) is stopped]
        lost.update(tracker.presence.missing_runs(experiment, runs, stopped=stopped))
    if check_files or tracker.local:
        left, kept = set(sent) - lost, ledger.with_weights()
        with_weights = {run for run in left if sent[run] in kept}
        find = tracker.presence.runs_without_files
        lost.update(find(experiment, left - with_weights))
        lost.update(find(experiment, with_weights, weights=True))
    return [sent[run] for run in lost]
