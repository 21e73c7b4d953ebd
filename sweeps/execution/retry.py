"""Trains packs again, in smaller parts, whose worker died.

A trial that crashes its worker must not fail the other trials of its pack.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from sweeps.execution.endings import endings
from sweeps.execution.events import Done, Failed, Message, Note, Stopped
from sweeps.planning.packs import half, split_pack
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.stop_requests import SWEEP, StopRequests

Pack = list[PlannedTrial]
Packs = list[Pack]

# Seconds until a cluster has noticed that a node is gone, and gives it no more work.
NOTICED = 20.0


class FailureCause(Enum):
    """Cause of the loss of a pack."""

    WORKER = "worker"
    MEMORY = "memory"
    NODE = "node"


@dataclass(frozen=True)
class LostPack:
    """A pack whose worker died, and died again with every retry.

    Attributes:
        pack: its trials.
        reason: how the worker died.
        cause: the cause.
    """

    pack: Pack
    reason: str
    cause: FailureCause = FailureCause.WORKER


# Trains packs, each with this many retries of its worker.
Fit = Callable[[Packs, int], Iterator[Message | LostPack]]


def train_with_retries(
    packs: Packs, retries: int, fit: Fit, requests: StopRequests | None = None
) -> Iterator[Message]:
    """Train packs, then once more the lost ones; each trial ends once.

    - A pack that was ended for its memory is split in half.
    - A pack whose node died is trained again as it is, once the node is known to be gone.
    - Of any other lost pack, the trials are trained one by one.
    - A pack that is lost again has failed.
    - A trial that was asked to stop, and whose worker was ended for that, is not trained again.

    Args:
        packs: what to train.
        retries: how often a pack gets a new worker after its worker died.
        fit: trains packs.
        requests: stop requests; nothing is trained again once the sweep is to stop.
    """
    ended: set[str] = set()
    smaller: Packs = []
    moved: Packs = []
    # The last two are filled while `packs` are trained.
    rounds = ((packs, retries, 0.0), (smaller, 0, 0.0), (moved, retries, NOTICED))
    for todo, budget, pause in rounds:
        if todo is not packs and (not todo or _is_to_stop(requests)):
            continue
        if pause:
            time.sleep(pause)
        for event in fit(todo, budget):
            if not isinstance(event, LostPack):
                yield from _once(event, ended)
                continue
            yield from _stopped_trials(event.pack, requests, ended)
            rest = [trial for trial in event.pack if trial.config_hash not in ended]
            again = [] if _is_to_stop(requests) else rest
            if todo is packs and event.cause is FailureCause.NODE:
                moved += split_pack(rest, len(event.pack))
                yield from _again(again, event, "it is trained again on another node")
            elif todo is packs and len(event.pack) > 1:
                size = half(len(event.pack)) if event.cause is FailureCause.MEMORY else 1
                smaller += split_pack(rest, size)
                parts = "one by one" if size == 1 else f"in packs of at most {size}"
                yield from _again(again, event, f"its trials are trained again {parts}")
            else:
                yield from _failed(rest, event)


def _is_to_stop(requests: StopRequests | None) -> bool:
    """Return whether the whole sweep was asked to stop."""
    return requests is not None and SWEEP in requests.read()


def _stopped_trials(
    pack: Pack, requests: StopRequests | None, ended: set[str]
) -> Iterator[Message]:
    """Yield the endings of the trials of a lost pack that were asked to stop."""
    if requests is None:
        return
    asked, hashes = requests.read(), [trial.config_hash for trial in pack]
    for message in endings({h: asked[h] for h in hashes if h in asked}, requests.timeout):
        yield from _once(message, ended)


def _again(trials: Pack, lost: LostPack, what: str) -> Iterator[Message]:
    """Yield a line on a lost pack of which these trials are trained again; none without any."""
    pack = f"pack of {len(lost.pack)}: " if len(lost.pack) > 1 else ""
    for trial in trials[:1]:
        yield Note(trial.config_hash, f"{pack}{lost.reason}; {what}")


def _failed(trials: Pack, lost: LostPack) -> Iterator[Message]:
    from sweeps.execution.worker import memory_needed  # imports torch

    reason = lost.reason
    if lost.cause is FailureCause.MEMORY and trials:
        reason += f": {memory_needed([trial.plain for trial in trials])}"
    for trial in trials:
        yield Failed(trial.config_hash, reason, final=False)


def _once(message: Message, ended: set[str]) -> Iterator[Message]:
    """Pass on a message unless its trial has ended: a retried pack repeats its messages."""
    digest = message.record.config_hash if isinstance(message, Done) else message.config_hash
    if digest in ended and not isinstance(message, Note):  # a note may be about its pack
        return
    if isinstance(message, Done | Failed | Stopped):
        ended.add(digest)
    yield message
