"""The executor: takes packs and yields messages, from Ray workers or from this process.

Ray is imported by modules of this folder only, and only when it is used.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from deq.linalg.hardware import gpu_count
from sweeps.config.early_stopping import AshaConfig, RungLosses, Stopping
from sweeps.config.launch import ClusterConfig
from sweeps.errors import ConfigError
from sweeps.execution.events import Message
from sweeps.execution.git import code_version
from sweeps.execution.own_ray import OwnRay
from sweeps.execution.resources import fits, local_workers, places, too_much
from sweeps.execution.retry import Packs, train_with_retries
from sweeps.execution.settings import WorkerSettings
from sweeps.storage.stop_requests import Guard

# Set before Ray is imported: no usage reports, no banners, none of Tune's own loggers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# An interrupted sweep must not start a new Ray by its last call to Ray.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Ray would wait 5 s to send its events to a cluster that is dead.
os.environ.setdefault("RAY_task_events_shutdown_flush_timeout_ms", "300")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

_log = logging.getLogger(__name__)

# Seconds to wait for the first node with a CPU: the nodes of a cluster join one after the other.
JOINING = 60.0
# Seconds between two questions for the nodes meanwhile.
ASK_EVERY = 1.0

# The early-stopping config, and the rung losses of trials that have ended, by config hash.
Early = tuple[AshaConfig, Mapping[str, RungLosses]]
# Trains packs; training begins when the first message is pulled.
Train = Callable[[Packs], Iterator[Message]]


def check_cluster(config: ClusterConfig, *, wait: bool = False) -> int:
    """Check that a cluster answers and accepts us, or that this machine has the GPUs.

    Args:
        config: the cluster.
        wait: wait for nodes that may still join: for `wait_seconds`, and for JOINING where no node
            has a CPU, as after the head was restarted.

    Returns:
        The number of packs that can train at a time.

    Raises:
        ConfigError: a cluster is not named, does not answer or refuses us; or no node, or not
            this machine, has the resources that a trial asks for.
    """
    if config.name != "ray":
        if missing := missing_gpus(config):
            raise ConfigError(missing)
        return local_workers(config)
    from sweeps.execution.ray_address import check_address

    began = time.monotonic()
    while True:
        nodes = check_address(config.address)
        if fitting := [node for node in nodes if fits(config, node)]:
            return sum(places(config, node) for node in fitting)
        empty = not any(node.get("CPU") for node in nodes)
        patience = max(config.wait_seconds, JOINING * empty) if wait else 0.0
        if time.monotonic() - began >= patience:
            raise ConfigError(too_much(config, nodes))
        time.sleep(ASK_EVERY)


def missing_gpus(config: ClusterConfig) -> str:
    """Return one line on the GPUs that a trial asks for and this machine lacks, or ""."""
    wanted = math.ceil(config.gpus_per_trial)
    if config.name == "ray" or not wanted or wanted <= (count := gpu_count()):
        return ""
    return (
        f"cluster.gpus_per_trial={config.gpus_per_trial:g}, and torch {version('torch')} sees "
        f"{count or 'no'} GPU{'s' * (count > 1)} here: lower it, train on a cluster "
        "(cluster=ray), or install a torch that is built for this machine's GPU"
    )


@contextlib.contextmanager
def training(
    packs: Packs,
    config: ClusterConfig,
    folder: Path,
    settings: WorkerSettings,
    own: OwnRay,
    early: Early | None = None,
) -> Iterator[Train]:
    """Start workers that can train these packs and, while the block runs, others like them.

    When the sweep is asked to stop, the messages end, and each running pack writes a checkpoint.

    Args:
        packs: the packs of the first round; if there are none, no workers are started.
        config: the cluster.
        folder: folder for Tune's state; on a cluster, on storage of all nodes.
        settings: settings of the workers.
        own: the Ray of this machine, which may have started already.
        early: early stopping, if the sweep has it.

    Raises:
        ConfigError: there are no workers that could train these packs.
    """
    if packs and (refusal := code_version().get("error")):
        _log.warning("the commit is not recorded with the results: %s", refusal)
    if not packs:
        yield lambda packs: iter(())
    elif config.name == "inline":
        if early:
            from sweeps.execution import asha

            settings = replace(settings, stopping=Stopping(early[0], asha.in_process(*early)))
        yield lambda packs: _train_inline(packs, settings)
    else:
        from sweeps.execution import asha
        from sweeps.execution.ray_cluster import ready
        from sweeps.execution.tune import Tune

        with ready(config, packs, folder, own, settings.device) as code:
            if early:
                settings = replace(settings, stopping=Stopping(early[0], asha.RemoteAsha(*early)))
            tune = Tune(config, folder, code, settings)
            try:
                yield lambda packs: train_with_retries(
                    packs, config.max_retries, tune.fit, settings.requests
                )
            finally:
                tune.end()


def _train_inline(packs: Packs, settings: WorkerSettings) -> Iterator[Message]:
    """Train packs one after the other in this process."""
    from sweeps.execution.worker import train_on_worker  # imports torch

    for pack in packs:
        guard = Guard(settings.requests)
        if guard.pending().sweep:
            return
        yield from train_on_worker([trial.plain for trial in pack], settings, guard)
