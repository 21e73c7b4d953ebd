"""First plan of a sweep, by what the ledger holds; MLflow is not asked."""

import contextlib
import logging

from sweeps.config.launch import LaunchConfig
from sweeps.config.request import Request
from sweeps.driver.announcement import missing_weights
from sweeps.driver.sweep_state import SweepState
from sweeps.driver.trial_states import TrialStates, asked_before, load_states
from sweeps.execution.executor import missing_gpus
from sweeps.execution.resources import local_workers
from sweeps.planning.plan import Plan, PlannedTrial, trials_of
from sweeps.search.factory import sweep_name
from sweeps.storage.checkpoints import checkpoints_of
from sweeps.storage.ledger import Ledger, reading
from sweeps.storage.output_root import ledger_path

_log = logging.getLogger(__name__)


def dry_plan(request: Request, *, force: bool = False, retry_failed: bool = False) -> Plan:
    """Return the plan of a command; nothing is written.

    Args:
        request: the composed command.
        force: plan to train finished trials again.
        retry_failed: plan to train failed trials again.

    Raises:
        OutputRootError: the ledger cannot be read.
    """
    launch, path, trials = request.launch, ledger_path(request.launch), trials_of(request)
    if missing := missing_gpus(launch.cluster):
        _log.warning("this plan cannot be carried out here: %s", missing)
    workers = local_workers(launch.cluster)  # no cluster is asked
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(reading(path)) if path.exists() and not force else None
        planned = sweep_by_ledger(
            launch, trials, ledger, retry_failed=retry_failed, workers=workers
        ).next_round()
        if ledger and launch.record.weights:
            for line in missing_weights(planned, ledger.with_weights()):
                _log.warning("%s", line)
    return planned


def sweep_by_ledger(
    launch: LaunchConfig,
    trials: list[PlannedTrial],
    ledger: Ledger | None,
    *,
    retry_failed: bool,
    workers: int,
) -> SweepState:
    """State of a sweep before its first round.

    Args:
        launch: how to search, train and record.
        trials: the listed trials, or the cells that are searched.
        ledger: knows the finished and failed trials; None: all of them are trained.
        retry_failed: train failed trials again.
        workers: number of packs that train at a time.
    """
    name = sweep_name(launch, trials)

    def lookup(trials: list[PlannedTrial]) -> TrialStates:
        return load_states(trials, ledger, sweep=name) if ledger else TrialStates()

    return SweepState(
        launch,
        trials,
        lookup,
        asked=asked_before(ledger, launch, name) if ledger else [],
        checkpointed=list(checkpoints_of(launch, name).packs().values()),
        retry_failed=retry_failed,
        workers=workers,
    )
