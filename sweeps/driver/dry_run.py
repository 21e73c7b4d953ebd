"""The plan of a command: its finished trials and those that would be trained."""

import contextlib
import logging

from sweeps.config.request import LaunchConfig, Request
from sweeps.driver.announcement import missing_weights
from sweeps.driver.sweep_state import SweepState
from sweeps.driver.trial_states import TrialStates, asked_before, load_states
from sweeps.execution.executor import missing_gpus
from sweeps.execution.resources import local_workers
from sweeps.planning.plan import Plan, PlannedTrial, trials_of
from sweeps.search.factory import sweep_name
from sweeps.storage.checkpoints import checkpoints_of
from sweeps.storage.ledger import reading
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
    trials = trials_of(request)
    if missing := missing_gpus(request.launch.cluster):
        _log.warning("this plan cannot be carried out here: %s", missing)
    workers = local_workers(request.launch.cluster)  # no cluster is asked
    planned = plan_by_ledger(
        request.launch, trials, force=force, retry_failed=retry_failed, workers=workers
    )
    if request.launch.record.weights and planned.finished:
        with reading(ledger_path(request.launch)) as ledger:
            for line in missing_weights(planned, ledger.with_weights()):
                _log.warning("%s", line)
    return planned


def plan_by_ledger(
    launch: LaunchConfig,
    trials: list[PlannedTrial],
    *,
    force: bool,
    retry_failed: bool,
    workers: int,
) -> Plan:
    """Plan these trials by what the ledger holds; MLflow is not asked.

    Args:
        launch: how to search, train and record.
        trials: the listed trials, or the cells that are searched.
        force: train finished trials again.
        retry_failed: train failed trials again.
        workers: number of packs that train at a time.

    Raises:
        OutputRootError: the ledger cannot be read.
    """
    path, name = ledger_path(launch), sweep_name(launch, trials)
    with contextlib.ExitStack() as stack:
        ledger = None
        if path.exists() and not force:
            ledger = stack.enter_context(reading(path))

        def lookup(trials: list[PlannedTrial]) -> TrialStates:
            return load_states(trials, ledger, sweep=name) if ledger else TrialStates()

        packs = list(checkpoints_of(launch, name).packs().values())
        sweep = SweepState(
            launch,
            trials,
            lookup,
            asked=asked_before(ledger, launch, name) if ledger else [],
            checkpointed=packs,
            retry_failed=retry_failed,
            workers=workers,
        )
        return sweep.next_round()
