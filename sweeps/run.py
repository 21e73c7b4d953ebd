"""A sweep, from what was composed to what came of it; and its plan alone."""

import contextlib
import shlex
from collections.abc import Sequence

from sweeps.announcement import announcement
from sweeps.config import LaunchConfig, Request
from sweeps.driver import Driver, Finished, Options
from sweeps.dry_run import plan_by_ledger
from sweeps.output_root import opened
from sweeps.planning import PlannedTrial, trials_of
from sweeps.redaction import without_secrets
from sweeps.terminal import Terminal
from sweeps.tracking.server import load
from sweeps.workers import check_cluster
from sweeps.workers.own_ray import OwnRay


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
    """Make the sweep of these trials complete.

    Raises:
        ConfigError: another sweep is being launched on the same output root, or there are
            no workers for this one; nothing was started.
        TrackingError: MLflow cannot be reached; nothing was trained.
        StoppedError: a person ended the sweep by `sweeps stop`.
    """
    check_cluster(launched.cluster)  # refused before anything is written
    force, retry = options.force, options.retry_failed
    announced: list[str] = []

    def announce() -> None:
        planned = plan_by_ledger(launched, trials, force=force, retry_failed=retry)
        announced.append(announcement(planned))
        terminal.say(announced[0])
        # An MLflow of others may hold what the ledger does not: then it is asked first.
        alone = launched.tracking.name == "local"
        if planned.packs and alone and launched.cluster.name == "local":
            with terminal.waiting("starting Ray"):
                own.start(beside=load)

    with OwnRay() as own, contextlib.ExitStack() as stack:
        with terminal.waiting("opening the record"):
            tracker, ledger = stack.enter_context(opened(launched, announce))
            driver = Driver(launched, trials, options, terminal, tracker, ledger, own, *announced)
        return driver.complete()
