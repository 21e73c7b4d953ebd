"""A sweep from plan to record: train what is missing, ship what is owed, report."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.announcement import announcement, next_round
from sweeps.checkpoints import Checkpoints, Ended
from sweeps.config import LaunchConfig, Request, launch_to_plain
from sweeps.early_stopping import AshaConfig, heights, of_sweep
from sweeps.entry import enter, note
from sweeps.errors import TrackingError
from sweeps.known import Known, known_of, table_of
from sweeps.lease import Lease
from sweeps.ledger import Ledger
from sweeps.output_root import folder_of, ledger_path, opened
from sweeps.planning import Plan, PlannedTrial, trials_of
from sweeps.pulse import Pulse
from sweeps.reaping import reap
from sweeps.record import now
from sweeps.redaction import without_secrets
from sweeps.report import Line
from sweeps.search.config import is_adaptive
from sweeps.search.findings import Findings, findings
from sweeps.search.start import kinds, name_of
from sweeps.settling import settle
from sweeps.shipping import Shipper
from sweeps.terminal import Terminal
from sweeps.tracking import Tracker
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


def launch(
    asked: Request,
    overrides: Sequence[str],
    terminal: Terminal,
    *,
    force: bool = False,
    retry_failed: bool = False,
) -> Finished:
    """Make the sweep complete that these overrides were composed to, recorded as typed.

    Raises:
        ConfigError, TrackingError: as `run`.
    """
    command = without_secrets(shlex.join(["sweeps", "run", *overrides]))
    options = Options(command, force=force, retry_failed=retry_failed)
    return run(asked.launch, trials_of(asked), options, terminal)


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

        def anew(planned: Plan) -> None:
            if options.force:
                _forget(tracker, ledger, checkpoints, experiment, planned)

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
            anew(planned)
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
                            entry = replace(entry, spec=spec | sweep.spec())
                            anew(planned)
                            note(tracker, ledger, entry, planned)
                            terminal.say(next_round(planned, _found(launched, sweep)))
                checkpoints.tidy(sweep.known.ended)
                lines = table_of(sweep.trials, sweep.reused, sweep.known)
                status = "FINISHED" if all(line.finished for line in lines) else "FAILED"
            finally:
                ledger.end_sweep(tracker.name, entry.study, entry.sweep, status)
                unsent = settle(tracker, ledger, Lease(tracker, entry.run_id))
        links = tracker.links(experiment, planned.sweep, entry.run_id)
        return Finished(planned, len(sweep.trained), lines, links, unsent)


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
