"""Packs whose worker died for good are tried once more, smaller.

What one trial does to its worker must not be its neighbours' end.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from sweeps.execution.endings import endings
from sweeps.execution.events import Done, Failed, Message, Stopped
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.stop_requests import SWEEP, StopRequests

Pack = list[PlannedTrial]
Packs = list[Pack]


# Seconds until a cluster has noticed that a node is gone, and gives it no more work.
NOTICED = 20.0


class FailureCause(Enum):
    """Whose fault it is that a pack was lost."""

    WORKER = "worker"
    MEMORY = "memory"
    NODE = "node"


@dataclass(frozen=True)
class LostPack:
    """A pack whose worker died, and died again with every retry.

    Attributes:
        pack: its trials.
        reason: how the worker died.
        cause: by whose fault.
    """

    pack: Pack
    reason: str
    cause: FailureCause = FailureCause.WORKER


# Trains packs, each with so many retries of its worker.
Fit = Callable[[Packs, int], Iterator[Message | LostPack]]


def train_with_retries(
    packs: Packs, retries: int, fit: Fit, requests: StopRequests | None = None
) -> Iterator[Message]:
    """Train the packs, then once more what was lost; each trial ends once.

    A pack that was ended for its memory is halved; one that a node took with it is tried
    again as it is, when the node is known to be gone; of any other, the trials are tried
    singly. What is lost again has failed. A trial that was asked to end, and whose worker was
    ended for it, ends by that and is not tried again; once the whole sweep is, nothing is.
    """
    ended: set[str] = set()
    smaller: Packs = []
    moved: Packs = []
    for said in fit(packs, retries):
        if not isinstance(said, LostPack):
            yield from _once(said, ended)
            continue
        for message in asked_to_end(said.pack, requests):
            yield from _once(message, ended)
        rest = [trial for trial in said.pack if trial.config_hash not in ended]
        if said.cause is FailureCause.NODE:
            moved += split_pack(rest, len(said.pack))
        elif len(said.pack) > 1:
            half = -(-len(said.pack) // 2)
            smaller += split_pack(rest, half if said.cause is FailureCause.MEMORY else 1)
        else:
            yield from _failed(rest, said)
    for again, budget, pause in ((smaller, 0, 0.0), (moved, retries, NOTICED)):
        if not again or (requests and SWEEP in requests.read()):
            continue
        time.sleep(pause)
        for said in fit(again, budget):
            if isinstance(said, LostPack):
                for message in asked_to_end(said.pack, requests):
                    yield from _once(message, ended)
                yield from _failed([t for t in said.pack if t.config_hash not in ended], said)
            else:
                yield from _once(said, ended)


def split_pack(pack: Pack, size: int) -> Packs:
    """A pack cut into packs of at most this size."""
    return [pack[i : i + size] for i in range(0, len(pack), size)]


def asked_to_end(pack: Pack, requests: StopRequests | None) -> Iterator[Stopped | Failed]:
    """The endings of the trials of a lost pack that were asked to end."""
    if requests is None:
        return
    found, hashes = requests.read(), [trial.config_hash for trial in pack]
    yield from endings({h: found[h] for h in hashes if h in found}, requests.timeout)


def _failed(trials: Pack, lost: LostPack) -> Iterator[Message]:
    from sweeps.execution.worker import needed  # imports torch

    reason = lost.reason
    if lost.cause is FailureCause.MEMORY and trials:
        reason += f": {needed([trial.plain for trial in trials])}"
    for trial in trials:
        yield Failed(trial.config_hash, reason, final=False)


def _once(said: Message, ended: set[str]) -> Iterator[Message]:
    """A pack that is retried says again how its first trials ended: pass it on once."""
    digest = said.record.config_hash if isinstance(said, Done) else said.config_hash
    if digest in ended:
        return
    if isinstance(said, Done | Failed | Stopped):
        ended.add(digest)
    yield said
