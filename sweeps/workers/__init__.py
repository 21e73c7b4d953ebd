"""The executor: packs in, messages out, from workers or from this very process.

The files of this folder are the door to Ray, which is imported only where it is used.
"""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from deq.linalg.hardware import gpus
from sweeps.checkpoints import Checkpoints
from sweeps.config import ClusterConfig
from sweeps.early_stopping import AshaConfig, Heights, Stopping
from sweeps.errors import ConfigError
from sweeps.git import code_version
from sweeps.messages import Message
from sweeps.stop_requests import Guard, StopRequests
from sweeps.workers.own_ray import OwnRay
from sweeps.workers.rounds import Packs, rounds

# Before ray is imported: no usage reports, no banners, none of Tune's own loggers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# A sweep that is interrupted must not start a Ray anew by its last call to it.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

_log = logging.getLogger(__name__)

# How trials are stopped early, and how high those stand that have ended, by config hash.
Early = tuple[AshaConfig, Mapping[str, Heights]]
# Trains packs; training begins when the messages are pulled.
Train = Callable[[Packs], Iterator[Message]]


def check_cluster(config: ClusterConfig) -> None:
    """Refuse a cluster that is not named, does not answer, or will not have us, in seconds.

    On this machine, refuse to train on GPUs that are not there.

    Raises:
        ConfigError: saying what to do instead.
    """
    if config.name == "ray":
        from sweeps.workers.address import check_address

        check_address(config.address)
    elif missing := missing_gpus(config):
        raise ConfigError(missing)


def missing_gpus(config: ClusterConfig) -> str:
    """One line: which GPUs of this machine a trial asks for in vain; empty when they are there."""
    wanted = math.ceil(config.gpus_per_trial)
    if config.name == "ray" or not wanted or wanted <= (there := gpus()):
        return ""
    return (
        f"cluster.gpus_per_trial={config.gpus_per_trial:g}, and torch {version('torch')} sees "
        f"{there or 'no'} GPU{'s' * (there > 1)} here: lower it, train on a cluster "
        "(cluster=ray), or install a torch that is built for this machine's GPU"
    )


@contextlib.contextmanager
def training(
    packs: Packs,
    config: ClusterConfig,
    folder: Path,
    checkpoints: Checkpoints,
    own: OwnRay,
    early: Early | None = None,
    live_seconds: float = 0.0,
    requests: StopRequests | None = None,
    weights: Path | None = None,
) -> Iterator[Train]:
    """Workers, ready to train these packs and, while the block lasts, others like them.

    Args:
        packs: what is to be trained first; without any there are no workers.
        config: where.
        folder: where Tune keeps its state meanwhile; on a cluster, on storage of all nodes.
        checkpoints: where packs keep theirs.
        own: the Ray of this machine, which may be there already.
        early: how trials are stopped early, and how high those stand that ended before.
        live_seconds: how often a trial's points are shown while it trains; 0: never.
        requests: where it is asked for that the sweep, or trials of it, end. When the sweep
            is to end, the messages do, and what trains writes its checkpoint.
        weights: the folder of trials' weights, on storage of all nodes; None: none are kept.

    Raises:
        ConfigError: there are no workers that could train these packs.
    """
    device = "cuda" if config.gpus_per_trial > 0 else "cpu"
    if packs and (refusal := code_version().get("error")):
        _log.warning("the commit is not recorded with the results: %s", refusal)
    if not packs:
        yield lambda packs: iter(())
    elif config.name == "inline":
        stopping = None
        if early:
            from sweeps.workers import asha

            stopping = Stopping(early[0], asha.here(*early))
        yield lambda packs: _inline(
            packs,
            device,
            config.cpus_per_trial,
            checkpoints,
            stopping,
            live_seconds,
            requests,
            weights,
        )
    else:
        from sweeps.workers import asha
        from sweeps.workers.cluster import ready
        from sweeps.workers.tune import Tune

        with ready(config, packs, folder, own) as code:
            stopping = Stopping(early[0], asha.Remote(*early)) if early else None
            options = (checkpoints, stopping, live_seconds, requests, weights)
            tune = Tune(config, device, folder, code, *options)
            try:
                yield lambda packs: rounds(packs, config.max_retries, tune.fit, requests)
            finally:
                tune.end()


def _inline(
    packs: Packs,
    device: str,
    threads: int,
    checkpoints: Checkpoints,
    stopping: Stopping | None,
    live_seconds: float,
    requests: StopRequests | None,
    weights: Path | None,
) -> Iterator[Message]:
    from sweeps.trial import run_pack  # imports torch

    for pack in packs:
        guard = Guard(requests)
        if guard.asked().sweep:
            return
        plains = [trial.plain for trial in pack]
        options = (checkpoints, stopping, live_seconds, guard, weights)
        yield from run_pack(plains, device, threads, *options)
