"""Runs a sweep: from the composed command to its result."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence

from sweeps.config.request import LaunchConfig, Request
from sweeps.driver.announcement import announcement
from sweeps.driver.driver import Driver
from sweeps.driver.dry_run import plan_by_ledger
from sweeps.driver.launch_result import Finished, Options
from sweeps.driver.session import opened
from sweeps.driver.starting import StartingSweep
from sweeps.driver.terminal import Terminal
from sweeps.execution.executor import check_cluster
from sweeps.execution.own_ray import OwnRay
from sweeps.planning.plan import PlannedTrial, trials_of
from sweeps.redaction import without_secrets
from sweeps.search.factory import sweep_name
from sweeps.tracking import server


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

    Raises:
        ConfigError: another sweep is being launched on the same output root, or there are
            no workers for this one; nothing was started.
        TrackingError: MLflow cannot be reached; nothing was trained.
        StoppedError: a person ended the sweep by `sweeps stop`.
    """
    with terminal.waiting("looking for workers"):  # refused before anything is written
        workers = check_cluster(launched.cluster, wait=True)
    force, retry = options.force, options.retry_failed
    starting = StartingSweep(launched, options, terminal, sweep_name(launched, trials))

    @contextlib.contextmanager
    def shown() -> Iterator[None]:
        planned = plan_by_ledger(launched, trials, force=force, retry_failed=retry, workers=workers)
        starting.announced = announcement(planned)
        terminal.say(starting.announced)
        with starting.shown(planned, server.tracker_name(launched.tracking)):
            # A shared MLflow may hold results that the ledger lacks: it is asked before Ray starts.
            local = launched.tracking.name == "local"
            if planned.packs and local and launched.cluster.name == "local":
                with terminal.waiting("starting Ray"):
                    own.start(beside=server.import_mlflow)
            yield

    with OwnRay() as own, contextlib.ExitStack() as stack:
        with terminal.waiting("opening the record"):
            tracker, ledger = stack.enter_context(opened(launched, shown))
            driver = Driver(
                launched, trials, options, terminal, tracker, ledger, own, starting, workers
            )
        return driver.complete()
