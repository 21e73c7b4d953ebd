"""Packs whose worker died for good are tried once more, smaller.

What one trial does to its worker must not be its neighbours' end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sweeps.plan import PlannedTrial
from sweeps.trial import Done, Failed, Message, needed

Pack = list[PlannedTrial]
Packs = list[Pack]


@dataclass(frozen=True)
class Lost:
    """A pack whose worker died, and died again with every retry.

    Attributes:
        pack: its trials.
        reason: how the worker died.
        memory: whether it was ended for the memory it used.
    """

    pack: Pack
    reason: str
    memory: bool = False


# Trains packs, each with so many retries of its worker.
Fit = Callable[[Packs, int], Iterator[Message | Lost]]


def rounds(packs: Packs, retries: int, fit: Fit) -> Iterator[Message]:
    """Train the packs, then once the parts of those that were lost; each trial ends once.

    A pack that was ended for its memory is halved; of any other that was lost, the trials
    are tried singly. Without retries left, what is lost again has failed.
    """
    ended: set[str] = set()
    again: Packs = []
    for said in fit(packs, retries):
        if isinstance(said, Lost):
            rest = [trial for trial in said.pack if trial.config_hash not in ended]
            if len(said.pack) == 1:
                yield from _failed(rest, said)
            else:
                again += parts(rest, -(-len(said.pack) // 2) if said.memory else 1)
        else:
            yield from _once(said, ended)
    if not again:
        return
    for said in fit(again, 0):
        if isinstance(said, Lost):
            yield from _failed([t for t in said.pack if t.config_hash not in ended], said)
        else:
            yield from _once(said, ended)


def parts(pack: Pack, size: int) -> Packs:
    """A pack cut into packs of at most this size."""
    return [pack[i : i + size] for i in range(0, len(pack), size)]


def _failed(trials: Pack, lost: Lost) -> Iterator[Message]:
    reason = lost.reason
    if lost.memory and trials:
        reason += f": {needed([trial.plain for trial in trials])}"
    for trial in trials:
        yield Failed(trial.config_hash, reason, final=False)


def _once(said: Message, ended: set[str]) -> Iterator[Message]:
    """A pack that is retried says again how its first trials ended: pass it on once."""
    digest = said.record.config_hash if isinstance(said, Done) else said.config_hash
    if digest in ended:
        return
    if isinstance(said, Done | Failed):
        ended.add(digest)
    yield said
