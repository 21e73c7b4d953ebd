"""The executor: packs in, messages out, from workers or from this very process.

The files of this folder are the door to Ray, which is imported only where it is used.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sweeps.checkpoints import Checkpoints
from sweeps.config import ClusterConfig
from sweeps.trial import Message, run_pack
from sweeps.workers.rounds import Packs, rounds


def check_cluster(config: ClusterConfig) -> None:
    """Refuse a cluster that is not named, does not answer, or will not have us, in seconds.

    Raises:
        ConfigError: saying what to do instead.
    """
    if config.name == "ray":
        from sweeps.workers.address import check_address

        check_address(config.address)


@contextlib.contextmanager
def training(
    packs: Packs, config: ClusterConfig, folder: Path, checkpoints: Checkpoints
) -> Iterator[Iterator[Message]]:
    """Workers, ready; training begins when the messages are pulled, and ends with the block.

    Args:
        packs: what to train.
        config: where.
        folder: where Tune keeps its state meanwhile; on a cluster, on storage of all nodes.
        checkpoints: where packs keep theirs.

    Raises:
        ConfigError: there are no workers that could train these packs.
    """
    device = "cuda" if config.gpus_per_trial > 0 else "cpu"
    if not packs:
        yield iter(())
    elif config.name == "inline":
        yield _inline(packs, device, config.cpus_per_trial, checkpoints)
    else:
        from sweeps.workers.cluster import ready
        from sweeps.workers.tune import Tune

        with ready(config, packs, folder) as code:
            tune = Tune(config, device, folder, code, checkpoints)
            yield rounds(packs, config.max_retries, tune.fit)


def _inline(packs: Packs, device: str, threads: int, checkpoints: Checkpoints) -> Iterator[Message]:
    for pack in packs:
        yield from run_pack([trial.plain for trial in pack], device, threads, checkpoints)
