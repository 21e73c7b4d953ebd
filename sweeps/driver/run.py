"""Runs a sweep: from the composed command to its result."""

import contextlib
import shlex
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.config.places import Contents, check_activations, check_data
from sweeps.config.request import Request
from sweeps.driver.announcement import announcement
from sweeps.driver.driver import Driver
from sweeps.driver.first_plan import sweep_by_ledger
from sweeps.driver.launch_result import Finished, Options
from sweeps.driver.session import opened_ledger
from sweeps.driver.starting import StartingSweep
from sweeps.driver.terminal import Terminal
from sweeps.execution.executor import check_cluster
from sweeps.execution.own_ray import OwnRay
from sweeps.planning.plan import Plan, PlannedTrial, trials_of
from sweeps.redaction import without_secrets
from sweeps.storage.disk_errors import DATABASE_ERRORS, explained_errors
from sweeps.storage.ledger import DAMAGED
from sweeps.tracking import server
from sweeps.tracking.tracker import Tracker


def launch(
    asked: Request,
    overrides: Sequence[str],
    terminal: Terminal,
    *,
    force: bool = False,
    retry_failed: bool = False,
) -> Finished:
    """Complete the sweep of a composed command.

    Args:
        asked: the composed command.
        overrides: as the user typed them, for the record.
        terminal: where to print.
        force: train finished trials again.
        retry_failed: train failed trials again.

    Raises:
        ConfigError, TrackingError, StoppedError: as `run`.
    """
    named = ["--config-dir", asked.config_dir] if asked.config_dir else []
    command = without_secrets(shlex.join(["sweeps", "run", *named, *overrides]))
    sources = {file.name: without_secrets(file.text) for file in asked.files}
    options = Options(command, sources, force=force, retry_failed=retry_failed)
    return run(asked.launch, trials_of(asked), options, terminal)


def run(
    launched: LaunchConfig, trials: list[PlannedTrial], options: Options, terminal: Terminal
) -> Finished:
    """Complete the sweep of these trials.

    Args:
        launched: how to search, train and record.
        trials: the listed trials, or the cells that are searched.
        options: options of the command.
        terminal: where to print.

    Raises:
        ConfigError: another sweep is being launched on the same output root, there are no
            workers for this one, or data or an activation that it is to train on are not there;
            nothing was started.
        TrackingError: MLflow cannot be reached; nothing was trained.
        StoppedError: a person ended the sweep by `sweeps stop`.
    """
    with terminal.waiting("looking for workers"):  # refused before anything is written
        workers = check_cluster(launched.cluster, wait=True)
    tracking = launched.tracking
    with OwnRay() as own, contextlib.ExitStack() as stack:
        with terminal.waiting("opening the record"):
            ledger = stack.enter_context(opened_ledger(launched, terminal.say))
            with explained_errors(ledger.path, DAMAGED, DATABASE_ERRORS):
                sweep = sweep_by_ledger(
                    launched,
                    trials,
                    None if options.force else ledger,
                    retry_failed=options.retry_failed,
                    workers=workers,
                )
                planned = sweep.next_round()
            _check_sources(planned, ledger.path.parent)
            starting = StartingSweep(launched, options, terminal, sweep.sweep)
            starting.announced = announcement(planned)
            terminal.say(starting.announced)
            stack.enter_context(starting.shown(planned, server.tracker_name(tracking)))
            # A shared MLflow may hold results that the ledger lacks: it is asked before Ray starts.
            if planned.packs and tracking.name == launched.cluster.name == "local":
                with terminal.waiting("starting Ray"):
                    own.start(beside=server.import_mlflow)
            tracker = Tracker(tracking, ledger.path.parent)
            stack.enter_context(explained_errors(ledger.path, DAMAGED, sqlite3.Error))
            driver = Driver(launched, sweep, options, terminal, tracker, ledger, own, starting)
        return driver.complete(planned)


def _check_sources(planned: Plan, output: Path) -> None:
    """Refuse to train on data, or with an activation, that are not those of the trials."""
    plains = [trial.plain for pack in planned.packs for trial in pack]
    check_data(plains, Contents(output))
    check_activations(plains)
