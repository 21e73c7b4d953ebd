"""A sweep, from what was composed to what came of it; and its plan alone."""

import contextlib
import logging
import shlex
from collections.abc import Sequence

from sweeps.config import LaunchConfig, Request
from sweeps.driver import Driver, Finished, Options, checkpoints_of
from sweeps.known import Known, known_of
from sweeps.ledger import reading
from sweeps.output_root import ledger_path, opened
from sweeps.planning import Plan, PlannedTrial, trials_of
from sweeps.redaction import without_secrets
from sweeps.search.start import name_of
from sweeps.terminal import Terminal
from sweeps.unfolding import Unfolding
from sweeps.workers import check_cluster, missing_gpus

_log = logging.getLogger(__name__)


def dry_plan(request: Request, *, force: bool = False, retry_failed: bool = False) -> Plan:
    """The plan of a command, looking and not touching."""
    path, trials = ledger_path(request.launch), trials_of(request)
    if missing := missing_gpus(request.launch.cluster):
        _log.warning("this plan cannot be carried out here: %s", missing)
    name = name_of(request.launch, trials)
    with contextlib.ExitStack() as stack:
        ledger = None
        if path.exists() and not force:
            ledger = stack.enter_context(reading(path))

        def look(asked: list[PlannedTrial]) -> Known:
            return known_of(asked, ledger, sweep=name) if ledger else Known()

        begun = list(checkpoints_of(request.launch, name).packs().values())
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
        ConfigError, TrackingError, StoppedError: as `run`.
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
        StoppedError: a person ended the sweep by `sweeps stop`.
    """
    check_cluster(launched.cluster)  # refused before anything is written
    with contextlib.ExitStack() as stack:
        with terminal.waiting("opening the record"):
            tracker, ledger = stack.enter_context(opened(launched))
            driver = Driver(launched, trials, options, terminal, tracker, ledger)
        return driver.complete()
