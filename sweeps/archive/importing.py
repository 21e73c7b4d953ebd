"""An archive into an output root: results into the ledger, then to MLflow as any result goes.

All of it is looked at before anything is written.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeps.archive import schema, trials
from sweeps.archive.layout import SweepSheet
from sweeps.archive.reader import ArchiveReader, opened
from sweeps.config.early_stopping import STOPPED
from sweeps.config.nested import one_line
from sweeps.config.request import LaunchConfig
from sweeps.driver.outbox import report_of
from sweeps.driver.register import enter as enter_sweep
from sweeps.driver.register import stops_early
from sweeps.driver.session import opened as output_root
from sweeps.driver.sync import PendingItems, sync_study
from sweeps.driver.trial_states import TrialStates, load_states, outcomes_of, planned_of
from sweeps.errors import ConfigError, SweepsError
from sweeps.planning.plan import Plan
from sweeps.reproduction.comparison import DIFFERENT, verdict
from sweeps.storage.ledger import Failure, Ledger, Result, SweepEntry
from sweeps.tracking.tracker import Tracker


@dataclass
class Imported:
    """What came of an import.

    Attributes:
        sweep, study: the sweep's names.
        new: hashes of the trials that were entered.
        present: of those that were there already, with the same results.
        conflicts: of those that were there with others, and how they differ; they were left.
        unsent: how many results MLflow has not taken yet.
        why: the reason, where it did not take all.
    """

    sweep: str
    study: str
    new: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    unsent: int = 0
    why: str = ""


def enter(path: Path, here: LaunchConfig) -> Imported:
    """Import an archive; doing so again changes nothing.

    A trial that is there already is left as it is.

    Raises:
        ConfigError: the file is no archive, or one that does not hold together; or another
            sweep is being launched on the output root. Nothing was written.
        TrackingError: MLflow cannot be reached; nothing was written.
    """
    with opened(path) as members:
        try:
            page = schema.read(members)
            entry = schema.entry(page, here)
            _check(members, page, entry)
        except SweepsError as error:
            raise ConfigError(f"{path}: {error}") from error
        with output_root(here) as (tracker, ledger):
            sync_study(tracker, ledger, [])
            return _entered(members, page, entry, tracker, ledger)


def _check(members: ArchiveReader, page: SweepSheet, entry: SweepEntry) -> None:
    """Read every trial and draw the report, so that nothing fails when it is too late."""
    results = {}
    for digest in members.hashes():
        record = trials.record(members, digest)
        if record.status == STOPPED and not stops_early(entry):
            raise ConfigError(f"trials/{digest[:12]} was stopped early, and the sweep stops none")
        results[digest] = Result(record.status, record.summary)
    failures = {digest: Failure(f.error, f.final) for digest, f in page.failures.items()}
    lines = outcomes_of(planned_of(entry), page.reused, TrialStates(results, failures))
    try:
        report_of(entry, lines, lambda digest: trials.record(members, digest).trajectory)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"its report cannot be drawn: {one_line(error)}") from error


def _entered(
    members: ArchiveReader, page: SweepSheet, entry: SweepEntry, tracker: Tracker, ledger: Ledger
) -> Imported:
    done = Imported(page.sweep, page.study)
    experiment = tracker.experiment(page.study)
    _enter_results(members, done, tracker.finished(experiment, set(members.hashes())), ledger)
    planned = planned_of(entry)
    known = load_states(planned, ledger, sweep=page.sweep)
    for digest, failure in page.failures.items():
        if digest not in known.results and digest not in known.failures:
            ledger.save_failure(digest, failure.error, final=failure.final)
    status = "FINISHED" if len(known.results) == len(planned) else "FAILED"
    before = ledger.sweep(tracker.name, page.study, page.sweep)
    if before is None or done.new or before.status != status:
        finished = frozenset(known.results)
        plan = Plan(page.sweep, page.study, planned, finished, frozenset(), packs=[])
        spec = before.spec if before else entry.spec
        enter_sweep(tracker, ledger, experiment, plan, spec)
        ledger.end_sweep(tracker.name, page.study, page.sweep, status)
    left = sync_study(tracker, ledger, [page.study]).unsent.get(page.study, PendingItems())
    done.unsent, done.why = left.results, left.why
    return done


def _enter_results(
    members: ArchiveReader, done: Imported, elsewhere: dict[str, Result], ledger: Ledger
) -> None:
    """Put what is new into the ledger; what MLflow alone knows is compared by its metrics."""
    for digest in members.hashes():
        record = trials.record(members, digest).in_sweep(done.sweep)
        before = ledger.get(*record.key)
        if before is None and not record.stopped_in and digest in elsewhere:
            there = elsewhere[digest]
            before = replace(record, status=there.status, summary=there.summary)
        if before is None:
            done.new.append(digest)
        elif (found := verdict(before, record)).kind == DIFFERENT:
            done.conflicts[digest] = str(found)
            continue
        else:
            done.present.append(digest)
        ledger.save(record)
