"""Import an archive: results go into the ledger, and from there to MLflow.

The whole archive is checked before anything is written.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeps.archive import schema, trials
from sweeps.archive.layout import ArchivedSweep
from sweeps.archive.reader import ArchiveReader, open_archive
from sweeps.config.launch import LaunchConfig
from sweeps.driver.register import register_sweep
from sweeps.driver.session import opened as output_root
from sweeps.driver.sync import PendingItems, sync_study
from sweeps.driver.trial_states import load_states, planned_of
from sweeps.errors import ConfigError, SweepsError
from sweeps.planning.plan import Plan
from sweeps.reproduction.comparison import DIFFERENT, compare
from sweeps.storage.ledger import Ledger, Result, SweepEntry
from sweeps.tracking.tracker import Tracker


@dataclass
class ImportReport:
    """Result of an import, as `sweeps import --json` prints it.

    Attributes:
        sweep, study: names of the sweep and its study.
        new: config hashes of the imported trials.
        present: config hashes of trials that were here before, with equal results.
        conflicts: for trials that were here with other results, how the archive's differ;
            they were left as they are.
        unsent: number of results that MLflow has not received yet.
        why: reason for that; empty if MLflow has everything.
    """

    sweep: str
    study: str
    new: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    unsent: int = 0
    why: str = ""


def import_archive(path: Path, config: LaunchConfig) -> ImportReport:
    """Import an archive; a second import of the same file changes nothing.

    Trials that are here already are left as they are.

    Args:
        path: the archive.
        config: launch config with the output root and the tracking of this machine.

    Raises:
        ConfigError: the file is not a valid archive, or another sweep is being launched on
            the output root. Nothing was written.
        TrackingError: MLflow cannot be reached. Nothing was written.
    """
    with open_archive(path) as reader:
        try:
            sweep = schema.read_sweep(reader)
            entry = schema.to_entry(sweep, config)
            reader.check_other_files()
            for digest in reader.trial_hashes():
                trials.read_record(reader, digest)
        except SweepsError as error:
            raise ConfigError(f"{path}: {error}") from error
        with output_root(config) as (tracker, ledger):
            sync_study(tracker, ledger, [])
            return _import(reader, sweep, entry, tracker, ledger)


def _import(
    reader: ArchiveReader,
    sweep: ArchivedSweep,
    entry: SweepEntry,
    tracker: Tracker,
    ledger: Ledger,
) -> ImportReport:
    """Write results, failures and the sweep into the ledger, then send them to MLflow."""
    report = ImportReport(sweep.sweep, sweep.study)
    experiment = tracker.experiment(sweep.study)
    in_mlflow = tracker.finished_results(experiment, set(reader.trial_hashes()))
    _import_results(reader, report, in_mlflow, ledger)
    planned = planned_of(entry)
    states = load_states(planned, ledger, sweep=sweep.sweep)
    for digest, failure in sweep.failures.items():
        if digest not in states.results and digest not in states.failures:
            ledger.save_failure(digest, failure.error, final=failure.final)
    status = "FINISHED" if len(states.results) == len(planned) else "FAILED"
    before = ledger.sweep(tracker.name, sweep.study, sweep.sweep)
    if before is None or report.new or before.status != status:
        finished = frozenset(states.results)
        plan = Plan(sweep.sweep, sweep.study, planned, finished, frozenset(), packs=[])
        register_sweep(tracker, ledger, experiment, plan, before.spec if before else entry.spec)
        ledger.end_sweep(tracker.name, sweep.study, sweep.sweep, status)
    left = sync_study(tracker, ledger, [sweep.study]).pending.get(sweep.study, PendingItems())
    report.unsent, report.why = left.results, left.why
    return report


def _import_results(
    reader: ArchiveReader, report: ImportReport, in_mlflow: dict[str, Result], ledger: Ledger
) -> None:
    """Write new results into the ledger, and compare the others with those that are here.

    A trial that is only in MLflow is compared by its status and metrics.
    """
    for digest in reader.trial_hashes():
        record = trials.read_record(reader, digest).in_sweep(report.sweep)
        present = ledger.get(*record.key)
        if present is None and not record.stopped_in and digest in in_mlflow:
            result = in_mlflow[digest]
            present = replace(record, status=result.status, summary=result.summary)
        comparison = compare(present, record) if present else None
        if comparison and comparison.kind == DIFFERENT:
            report.conflicts[digest] = str(comparison)
            continue
        (report.present if present else report.new).append(digest)
        ledger.save(record)
