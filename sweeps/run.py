"""A sweep from plan to record: train what is missing, ship what is owed, report."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweeps import pages
from sweeps.announcement import announcement, next_round
from sweeps.checkpoints import Checkpoints, Ended
from sweeps.config import LaunchConfig, Request, launch_to_plain
from sweeps.early_stopping import AshaConfig, heights, of_sweep
from sweeps.errors import ConfigError, TrackingError
from sweeps.known import Known, known_of, table_of
from sweeps.lease import Lease
from sweeps.ledger import LEDGER, Ledger, Owed, SweepEntry
from sweeps.lookup import MIN_PREFIX
from sweeps.planning import Plan, PlannedTrial, trials_of
from sweeps.pulse import Pulse
from sweeps.reaping import reap
from sweeps.record import now, stopped_key
from sweeps.redaction import without_secrets
from sweeps.report import Line
from sweeps.search.config import is_adaptive
from sweeps.search.findings import Findings, findings
from sweeps.search.start import kinds, name_of
from sweeps.shipping import Shipper, publish, ship
from sweeps.terminal import Terminal
from sweeps.tracking import Tracker, check_server
from sweeps.trial import Done, Failed, Message
from sweeps.unfolding import Unfolding
from sweeps.workers import Early, check_cluster, training


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
        plan: the sweep as it stands now.
        trained: how many trials were trained by this launch.
        lines: what came of each trial.
        links: where MLflow shows it.
        unsent: how many results MLflow has not taken yet.
    """

    plan: Plan
    trained: int
    lines: list[Line]
    links: dict[str, str]
    unsent: int

    @property
    def failed(self) -> int:
        """How many trials have no result."""
        return sum(not line.finished for line in self.lines)


def dry_plan(request: Request, *, force: bool = False, retry_failed: bool = False) -> Plan:
    """The plan of a command, looking and not touching."""
    path, trials = ledger_path(request.launch), trials_of(request)
    name = name_of(request.launch, trials)
    with contextlib.ExitStack() as stack:
        ledger = None
        if path.exists() and not force:
            ledger = stack.enter_context(contextlib.closing(Ledger(path)))

        def look(asked: list[PlannedTrial]) -> Known:
            return known_of(asked, ledger, sweep=name) if ledger else Known()

        begun = list(_checkpoints(request.launch, name).packs().values())
        sweep = Unfolding(request.launch, trials, look, begun=begun, retry_failed=retry_failed)
        return sweep.advance()


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
    with opened(launched) as (tracker, ledger):
        settle(tracker, ledger)
        experiment = tracker.experiment(launched.study)
        for text in reap(tracker, ledger, experiment):
            terminal.say(text)
        name = name_of(launched, trials)

        def look(asked: list[PlannedTrial]) -> Known:
            if options.force:
                return Known()
            try:
                return known_of(asked, ledger, tracker, experiment, sweep=name)
            except TrackingError:  # away since: what is begun goes on without it
                return known_of(asked, ledger, sweep=name)

        checkpoints = _checkpoints(launched, name)
        begun = list(checkpoints.packs().values())
        sweep = Unfolding(launched, trials, look, begun=begun, retry_failed=options.retry_failed)
        planned = sweep.advance()
        checkpoints.tidy(planned.finished | planned.failed)
        terminal.say(announcement(planned))
        folder = folder_of(ledger.path.parent, planned.sweep)
        if strays := checkpoints.strays(planned.hashes):
            terminal.say(f"{len(strays)} of them start anew: they were begun in other packs.")
        early = _early(launched, sweep, ledger)
        packs = planned.packs and [*planned.packs, kinds(launched, trials)]
        with training(packs, launched.cluster, folder, checkpoints, early) as train:
            if options.force:
                _forget(tracker, ledger, checkpoints, experiment, planned)
            spec = _spec(launched, options, trials)
            entry = enter(tracker, ledger, experiment, planned, spec | sweep.spec())
            status = "KILLED"
            try:
                with Shipper(tracker, ledger.path) as shipper, Lease(tracker, entry.run_id):
                    while planned.packs:
                        ended = Ended(checkpoints, planned.hashes)
                        _train(train(planned.packs), planned, ledger, terminal, shipper, ended)
                        sweep.learn(planned, known_of(planned.trials, ledger, sweep=name))
                        planned = sweep.advance()
                        if planned.packs:
                            if options.force:
                                _forget(tracker, ledger, checkpoints, experiment, planned)
                            entry = replace(entry, spec=spec | sweep.spec())
                            _note(tracker, ledger, entry, planned)
                            terminal.say(next_round(planned, _found(launched, sweep)))
                checkpoints.tidy(sweep.known.ended)
                lines = table_of(sweep.trials, sweep.reused, sweep.known)
                status = "FINISHED" if all(line.finished for line in lines) else "FAILED"
            finally:
                ledger.end_sweep(tracker.name, entry.study, entry.sweep, status)
                unsent = settle(tracker, ledger, Lease(tracker, entry.run_id))
        links = tracker.links(experiment, planned.sweep, entry.run_id)
        return Finished(planned, len(sweep.trained), lines, links, unsent)


def settle(tracker: Tracker, ledger: Ledger, lease: Lease | None = None) -> int:
    """Send what is owed and close the pages of sweeps nobody works on; how much is unsent.

    Called while this process holds the output root, so a sweep that still says RUNNING was
    left by a driver that died.
    """
    with lease or contextlib.nullcontext():  # what is owed by now may take long
        unsent = ship(tracker, ledger)
    for entry in ledger.unpublished(tracker.name):
        if entry.status == "RUNNING":
            ledger.end_sweep(tracker.name, entry.study, entry.sweep, "KILLED")
    if not unsent:
        with contextlib.suppress(TrackingError):  # gone again: the pages wait for the next time
            for entry in ledger.unpublished(tracker.name):
                trials = [PlannedTrial(**trial) for trial in entry.spec["trials"]]
                known = known_of(trials, ledger, tracker, entry.experiment, sweep=entry.sweep)
                lines = table_of(trials, entry.spec["reused"], known)
                publish(tracker, ledger, entry, lines, folder_of(ledger.path.parent, entry.sweep))
    return unsent


def sync(config: LaunchConfig) -> int:
    """Ship what MLflow is owed; how many results it did not take.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    if not ledger_path(config).exists():
        return 0
    with opened(config) as (tracker, ledger):
        reap(tracker, ledger)
        return settle(tracker, ledger)


def rewrite_report(config: LaunchConfig, prefix: str) -> Path:
    """Write a sweep's report anew, here and into its MLflow page.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
        TrackingError: MLflow cannot be reached or did not take it.
    """
    has_record(Path(config.paths.output))
    with opened(config) as (tracker, ledger):
        settle(tracker, ledger)
        entry = only(ledger.sweeps_like(prefix, tracker.name), prefix)
        folder = folder_of(ledger.path.parent, entry.sweep)
        trials = [PlannedTrial(**trial) for trial in entry.spec["trials"]]
        known = known_of(trials, ledger, tracker, entry.experiment, sweep=entry.sweep)
        lines = table_of(trials, entry.spec["reused"], known)
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
        known = known_of(trials, ledger, sweep=entry.sweep)
        return table_of(trials, entry.spec["reused"], known)


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
def opened(config: LaunchConfig) -> Iterator[tuple[Tracker, Ledger]]:
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


def _checkpoints(launched: LaunchConfig, sweep: str) -> Checkpoints:
    """The output root's; a sweep that stops trials early keeps its own, for they are its."""
    root = Path(launched.paths.output)
    if isinstance(launched.early_stopping, AshaConfig):
        root = folder_of(root, sweep)
    return Checkpoints.under(root, launched.checkpoint.every_seconds)


def _early(launched: LaunchConfig, sweep: Unfolding, ledger: Ledger) -> Early | None:
    """How trials are stopped early, and how high those stand that have ended."""
    config, found = launched.early_stopping, {}
    if not isinstance(config, AshaConfig):
        return None
    for trial in sweep.trials:
        columns = ledger.trajectory_in(sweep.sweep, trial.config_hash)
        if columns:
            found[trial.config_hash] = heights(config, columns, trial.plain["train"]["steps"])
    return config, found


def _forget(
    tracker: Tracker, ledger: Ledger, checkpoints: Checkpoints, experiment: str, planned: Plan
) -> None:
    """Drop what is known of the trials that are to be trained."""
    hashes = [trial.config_hash for pack in planned.packs for trial in pack]
    ledger.forget(hashes)
    checkpoints.forget(hashes)
    tracker.discard(experiment, hashes)


def _spec(launched: LaunchConfig, options: Options, cells: list[PlannedTrial]) -> dict[str, Any]:
    """What of a sweep does not change while it unfolds, as plain data."""
    return {
        "command": options.command,
        "figure": launched.figure,
        "launch": launch_to_plain(launched),
        "started": now(),
        "cells": [asdict(cell) for cell in cells] if is_adaptive(launched.search) else [],
    }


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
        "trials": {trial.name: trial.config_hash for trial in planned.trials},
    }
    view = pages.trials_view(planned.sweep, planned.trials)
    run_id = tracker.begin_sweep(experiment, planned.sweep, page, view)
    entry = SweepEntry(planned.study, planned.sweep, spec, experiment, run_id, "RUNNING")
    _note(tracker, ledger, entry, planned)
    return entry


def _note(tracker: Tracker, ledger: Ledger, entry: SweepEntry, planned: Plan) -> None:
    """Write into the ledger what the sweep has come to, and what MLflow is owed of it."""
    ledger.open_sweep(tracker.name, entry)
    owed = [Owed(planned.study, t.config_hash, planned.sweep, t.name) for t in planned.trials]
    early = entry.spec.get("launch", {}).get("early_stopping", {"name": "none"})
    if early["name"] != "none":  # or as this sweep stops it
        owed += [replace(o, config_hash=stopped_key(o.config_hash, o.sweep)) for o in owed]
    ledger.owe(tracker.name, owed)


def _found(launched: LaunchConfig, sweep: Unfolding) -> Findings | None:
    """What the search has found so far."""
    return findings(launched.search, table_of(sweep.trials, sweep.reused, sweep.known))


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
    with terminal.watch(planned) as view, Pulse(folder) as pulse, terminal.interruptible():
        for message in map(_masked, messages):
            if isinstance(message, Done):
                ledger.put(of_sweep(message.record, planned.sweep), message.figure)
                ended.add(message.record.config_hash)
                shipper.notify()
            elif isinstance(message, Failed):
                ledger.fail(message.config_hash, message.error, final=message.final)
                if message.final:
                    ended.add(message.config_hash)
            pulse.tell(message)
            view.tell(message)


def _masked(message: Message) -> Message:
    """Without this process's secrets, which a worker may say and not know."""
    if isinstance(message, Failed):
        return replace(message, error=without_secrets(message.error))
    return message
