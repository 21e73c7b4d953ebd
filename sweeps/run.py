"""A sweep from plan to record: train what is missing, ship what is owed, report."""

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from sweeps import pages
from sweeps.checkpoints import Checkpoints, Ended
from sweeps.config import ClusterConfig, LaunchConfig, Request, launch_to_plain
from sweeps.errors import ConfigError, TrackingError
from sweeps.ledger import LEDGER, Failure, Ledger, Owed, Result, SweepEntry
from sweeps.lookup import MIN_PREFIX
from sweeps.planning import Plan, PlannedTrial, plan, trials_of
from sweeps.pulse import Pulse
from sweeps.record import now
from sweeps.report import FAILED, MISSING, Line
from sweeps.shipping import Shipper, publish, ship
from sweeps.terminal import Terminal
from sweeps.tracking import Tracker, check_server
from sweeps.trial import Done, Failed, Message
from sweeps.workers import check_cluster, training

Results = dict[str, Result]


@dataclass(frozen=True)
class Options:
    """How the command asked for it.

    Attributes:
        command: as it was typed.
        force: train again what is finished.
        retry_failed: try again what raised before.
    """

    command: str
    force: bool = False
    retry_failed: bool = False


@dataclass(frozen=True)
class Finished:
    """A sweep that has been run to its end.

    Attributes:
        plan: what was to do.
        lines: what came of each trial.
        links: where MLflow shows it.
        unsent: how many results MLflow has not taken yet.
    """

    plan: Plan
    lines: list[Line]
    links: dict[str, str]
    unsent: int

    @property
    def failed(self) -> int:
        """How many trials have no result."""
        return sum(not line.finished for line in self.lines)


@dataclass(frozen=True)
class Known:
    """What is known of trials before a sweep begins."""

    results: Results = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def ended(self) -> set[str]:
        """Trials that have a result, or that it is of no use to try again."""
        return {*self.results, *(h for h, f in self.failures.items() if f.final)}


def dry_plan(request: Request, *, force: bool = False, retry_failed: bool = False) -> Plan:
    """The plan of a command, looking and not touching."""
    path = ledger_path(request.launch)
    known = Known()
    trials = trials_of(request)
    if path.exists() and not force:
        with contextlib.closing(Ledger(path)) as ledger:
            known = _known(trials, ledger)
    return _plan(request.launch, trials, known, retry_failed)


def folder_of(output: Path, sweep: str) -> Path:
    """Where a sweep's report lies, and what Ray keeps of it while it runs."""
    return output / "sweeps" / sweep


def ledger_path(config: LaunchConfig) -> Path:
    """Where the ledger lies."""
    return Path(config.paths.output) / LEDGER


def run(
    launched: LaunchConfig, trials: list[PlannedTrial], options: Options, terminal: Terminal
) -> Finished:
    """Make the sweep of these trials complete.

    Raises:
        ConfigError: another sweep is being launched on the same output root, or there are
            no workers for this one; nothing was started.
        TrackingError: MLflow cannot be reached; nothing was started.
    """
    check_cluster(launched.cluster)  # refused before anything is written
    with _opened(launched) as (tracker, ledger):
        settle(tracker, ledger)
        experiment = tracker.experiment(launched.study)
        known = Known() if options.force else _known(trials, ledger, tracker, experiment)
        planned = _plan(launched, trials, known, options.retry_failed)
        terminal.say(_announcement(planned))
        folder = folder_of(ledger.path.parent, planned.sweep)
        checkpoints = _checkpoints(launched)
        checkpoints.tidy(planned.finished | planned.failed)
        if strays := checkpoints.strays(planned.hashes):
            terminal.say(f"{len(strays)} of them start anew: they were begun in other packs.")
        with training(planned.packs, launched.cluster, folder, checkpoints) as messages:
            if options.force:
                hashes = [trial.config_hash for trial in trials]
                ledger.forget(hashes)
                checkpoints.forget(hashes)
                tracker.discard(experiment, hashes)
            entry = _enter(tracker, ledger, experiment, planned, options, launched)
            status = "KILLED"
            try:
                with Shipper(tracker, ledger.path) as shipper:
                    ended = Ended(checkpoints, planned.hashes)
                    _train(messages, planned, ledger, terminal, shipper, ended)
                known = Known(
                    known.results | ledger.results(t.config_hash for t in trials),
                    ledger.failures(t.config_hash for t in trials),
                )
                checkpoints.tidy(known.ended)
                lines = _table(trials, planned.finished, known)
                status = "FINISHED" if all(line.finished for line in lines) else "FAILED"
            finally:
                ledger.end_sweep(tracker.name, entry.study, entry.sweep, status)
                unsent = settle(tracker, ledger)
        links = tracker.links(experiment, planned.sweep, entry.run_id)
        return Finished(planned, lines, links, unsent)


def settle(tracker: Tracker, ledger: Ledger) -> int:
    """Send what is owed and close the pages of sweeps nobody works on; how much is unsent.

    Called while this process holds the output root, so a sweep that still says RUNNING was
    left by a driver that died.
    """
    unsent = ship(tracker, ledger)
    for entry in ledger.unpublished(tracker.name):
        if entry.status == "RUNNING":
            ledger.end_sweep(tracker.name, entry.study, entry.sweep, "KILLED")
    if not unsent:
        with contextlib.suppress(TrackingError):  # gone again: the pages wait for the next time
            for entry in ledger.unpublished(tracker.name):
                trials = [PlannedTrial(**trial) for trial in entry.spec["trials"]]
                known = _known(trials, ledger, tracker, entry.experiment)
                lines = _table(trials, entry.spec["reused"], known)
                publish(tracker, ledger, entry, lines, folder_of(ledger.path.parent, entry.sweep))
    return unsent


def sync(config: LaunchConfig) -> int:
    """Ship what MLflow is owed; how many results it did not take.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    if not ledger_path(config).exists():
        return 0
    with _opened(config) as (tracker, ledger):
        return settle(tracker, ledger)


def rewrite_report(config: LaunchConfig, prefix: str) -> Path:
    """Write a sweep's report anew, here and into its MLflow page.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
        TrackingError: MLflow cannot be reached or did not take it.
    """
    has_record(Path(config.paths.output))
    with _opened(config) as (tracker, ledger):
        settle(tracker, ledger)
        entry = only(ledger.sweeps_like(prefix, tracker.name), prefix)
        folder = folder_of(ledger.path.parent, entry.sweep)
        trials = [PlannedTrial(**trial) for trial in entry.spec["trials"]]
        known = _known(trials, ledger, tracker, entry.experiment)
        lines = _table(trials, entry.spec["reused"], known)
        path = publish(tracker, ledger, entry, lines, folder)
        if path is None:
            raise TrackingError(f"MLflow did not take the report; it is in {folder}")
        return path


def lines_of(prefix: str, output: Path) -> list[Line]:
    """What the ledger knows of a sweep's trials.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
    """
    has_record(output)
    with contextlib.closing(Ledger(output / LEDGER)) as ledger:
        entry = only(ledger.sweeps_like(prefix), prefix)
        trials = [PlannedTrial(**trial) for trial in entry.spec["trials"]]
        return _table(trials, entry.spec["reused"], _known(trials, ledger))


def has_record(output: Path) -> None:
    """Raise ConfigError unless something was launched under this root."""
    if not (output / LEDGER).exists():
        raise ConfigError(f"there is no record under {output}: launch a sweep first")


def only(found: list[SweepEntry], prefix: str) -> SweepEntry:
    """The one sweep a prefix names; of several studies with that set of trials, the latest.

    Raises:
        ConfigError: no sweep, or more than one, begins so.
    """
    names = {entry.sweep: entry for entry in found}
    if len(prefix) < MIN_PREFIX or len(names) != 1:
        hint = f"it may be {', '.join(list(names)[:5])}" if names else "`sweeps run` prints names"
        raise ConfigError(
            f"{prefix!r} names {len(names)} sweeps: give {MIN_PREFIX} or more digits; {hint}"
        )
    return next(iter(names.values()))


@contextlib.contextmanager
def _opened(config: LaunchConfig) -> Iterator[tuple[Tracker, Ledger]]:
    """The output root, held by this process alone."""
    check_server(config.tracking)  # refused before anything is written
    output = Path(config.paths.output)
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"another sweep is being launched on paths.output={output}: wait for it, "
            "or choose another paths.output"
        ) from error
    try:
        with contextlib.closing(Ledger(ledger_path(config))) as ledger:
            yield Tracker(config.tracking, output), ledger
    finally:
        lock.release()


def _known(
    trials: list[PlannedTrial],
    ledger: Ledger,
    tracker: Tracker | None = None,
    experiment: str = "",
) -> Known:
    """What the ledger knows, and MLflow of what the ledger does not (another machine's work)."""
    hashes = [trial.config_hash for trial in trials]
    results = ledger.results(hashes)
    if tracker:
        results |= tracker.finished(experiment, set(hashes) - set(results))
    return Known(results, ledger.failures(hashes))


def _plan(launched: LaunchConfig, trials: list[PlannedTrial], known: Known, retry: bool) -> Plan:
    return plan(
        trials,
        study=launched.study,
        pack=launched.pack,
        workers=_workers(launched.cluster),
        finished=known.results,
        failed=() if retry else [h for h, f in known.failures.items() if f.final],
        begun=_checkpoints(launched).packs().values(),
    )


def _checkpoints(launched: LaunchConfig) -> Checkpoints:
    return Checkpoints.under(Path(launched.paths.output), launched.checkpoint.every_seconds)


def _workers(cluster: ClusterConfig) -> int:
    """How many packs train at a time on this machine; a cluster has as many at least."""
    if cluster.name == "inline":
        return 1
    return max(1, (os.cpu_count() or 1) // cluster.cpus_per_trial)


def _enter(
    tracker: Tracker,
    ledger: Ledger,
    experiment: str,
    planned: Plan,
    options: Options,
    launched: LaunchConfig,
) -> SweepEntry:
    """Write the sweep into the ledger and give it a page in MLflow."""
    spec = {
        "command": options.command,
        "figure": launched.figure,
        "launch": launch_to_plain(launched),
        "started": now(),
        "reused": sorted(planned.finished),
        "trials": [asdict(trial) for trial in planned.trials],
    }
    before = ledger.sweep(tracker.name, planned.study, planned.sweep)
    if before and not planned.left and before.status == "FINISHED":
        return before  # nothing to do, and its page says so already
    page = {
        "sweep": planned.sweep,
        "study": planned.study,
        "command": options.command,
        "trials": {trial.name: trial.config_hash for trial in planned.trials},
    }
    view = pages.trials_view(planned.sweep, planned.trials)
    run_id = tracker.begin_sweep(experiment, planned.sweep, page, view)
    entry = SweepEntry(planned.study, planned.sweep, spec, experiment, run_id, "RUNNING")
    ledger.open_sweep(tracker.name, entry)
    owed = [Owed(planned.study, t.config_hash, planned.sweep, t.name) for t in planned.trials]
    ledger.owe(tracker.name, owed)
    return entry


def _announcement(planned: Plan) -> str:
    total = len(planned.trials)
    trials = f"{total} trial{'s' if total > 1 else ''}"
    if planned.left == 0 and not planned.failed:
        return f"Sweep {planned.sweep}: nothing to do, all {trials} finished before."
    parts = [trials, f"{len(planned.finished)} finished before"]
    if planned.failed:
        parts.append(f"{len(planned.failed)} failed before (--retry-failed tries them again)")
    parts.append(f"{planned.left} to train")
    return f"Sweep {planned.sweep}: {', '.join(parts)}."


def _train(
    messages: Iterator[Message],
    planned: Plan,
    ledger: Ledger,
    terminal: Terminal,
    shipper: Shipper,
    ended: Ended,
) -> None:
    """Pull what the workers say; every result is in the ledger before it is shown."""
    if not planned.packs:
        return
    folder = folder_of(ledger.path.parent, planned.sweep)
    with terminal.watch(planned) as view, Pulse(folder) as pulse:
        for message in messages:
            if isinstance(message, Done):
                ledger.put(message.record)
                ended.add(message.record.config_hash)
                shipper.notify()
            elif isinstance(message, Failed):
                ledger.fail(message.config_hash, message.error, final=message.final)
                if message.final:
                    ended.add(message.config_hash)
            pulse.tell(message)
            view.tell(message)


def _table(trials: list[PlannedTrial], reused: Collection[str], known: Known) -> list[Line]:
    """A line for each trial, from what is known of it."""
    lines = []
    for trial in trials:
        result = known.results.get(trial.config_hash)
        failure = known.failures.get(trial.config_hash)
        if result:
            used = trial.config_hash in reused
            lines.append(Line(trial, result.status, result.summary, reused=used))
        elif failure:
            lines.append(Line(trial, FAILED, error=failure.error))
        else:
            lines.append(Line(trial, MISSING))
    return lines
