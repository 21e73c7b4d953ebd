"""Trains one pack of trials: plain configs in, messages out.

It runs wherever it is called: in a Ray actor, or in the driver's process.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace
from enum import Enum
from typing import Any

import deq
from deq.training.checkpoint import UnusableError
from sweeps.config.request import trial_from_plain
from sweeps.config.texts import format_bytes, one_line
from sweeps.execution.endings import endings
from sweeps.execution.events import Done, Failed, Message, Stopped
from sweeps.execution.pack_training import PackTraining, WorkerTrial, notes
from sweeps.execution.settings import WorkerSettings
from sweeps.planning.packs import half, split_pack
from sweeps.storage.checkpoints import discard_pack
from sweeps.storage.stop_requests import Guard

Trials = dict[str, WorkerTrial]  # by config hash


class _Cause(Enum):
    """Cause of an error in the training of a pack."""

    MEMORY = "out of memory"
    CHECKPOINT = "its checkpoint cannot be used"
    TRIAL = "a trial raised an error"

    @classmethod
    def of(cls, error: Exception) -> "_Cause":
        text = str(error)
        if isinstance(error, UnusableError):
            return cls.CHECKPOINT
        if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
            return cls.MEMORY
        return cls.TRIAL


def run_pack(plains: list[dict[str, Any]], device: str, threads: int) -> Generator[Message]:
    """Train a pack without checkpoints; see `train_on_worker`.

    `sweeps reproduce --at COMMIT` calls this function in other versions of this package, so
    its name and its parameters do not change.
    """
    return train_on_worker(plains, WorkerSettings(device, threads))


def train_on_worker(
    plains: list[dict[str, Any]], settings: WorkerSettings, guard: Guard | None = None
) -> Generator[Message]:
    """Train a pack.

    - A pack that has a checkpoint continues from it.
    - If a trial raises an error, only that trial fails: the others are trained one by one.
    - A pack that does not fit in memory is split in half, once. A half that does not fit
      fails, and its message says how much memory it needs.
    - Requests are followed between two GD steps: a trial that is to stop leaves the pack with
      a checkpoint of its own; if the sweep is to stop, the pack writes its checkpoint.

    Args:
        plains: plain configs of the trials.
        settings: how to train them.
        guard: looks for stop requests; by default one on `settings.requests`.

    Yields:
        Messages on the trials; each trial's last one is Done, Failed or Stopped.
    """
    deq.set_threads(settings.threads)
    trials = dict(map(WorkerTrial.of, plains))
    yield from _train(trials, settings, guard or Guard(settings.requests), halved=False)


def memory_needed(plains: list[dict[str, Any]]) -> str:
    """Return how much memory a pack needs and what to do, as the end of a sentence."""
    config = trial_from_plain(plains[0])
    d, n = deq.load(config.data).x.shape
    size = format_bytes(len(plains) * deq.memory(config, d, n))
    if len(plains) == 1:
        return f"the trial needs about {size}: lower model.width or data.n"
    return f"{len(plains)} trials together need about {size}: lower pack"


def _train(
    trials: Trials, settings: WorkerSettings, guard: Guard, *, halved: bool
) -> Iterator[Message]:
    stopped = guard.of(list(trials))  # before they began, or after their worker was ended
    yield from endings(stopped, guard.timeout)
    left = {digest: trial for digest, trial in trials.items() if digest not in stopped}
    if not left or guard.pending().sweep:
        return
    size, cause, why = len(left), None, ""
    try:
        for message in PackTraining(left, settings, guard).messages():
            yield message
            left.pop(_ended_trial(message), None)
    except Exception as error:  # whatever a trial raises is that trial's failure
        cause, why = _Cause.of(error), one_line(error)
    # Not inside the except: there the error's traceback holds the pack's tensors.
    if cause is None:
        if left and not guard.pending().sweep:  # a trial left the pack; the rest has a checkpoint
            yield from _train(left, settings, guard, halved=halved)
    elif cause is _Cause.CHECKPOINT:
        yield from notes(list(left), [f"its checkpoint is not used ({why}): starts anew"])
        settings = replace(settings, checkpoints=discard_pack(settings.checkpoints, list(left)))
        yield from _train(left, settings, guard, halved=halved)
    elif cause is _Cause.MEMORY and (halved or size == 1):
        needed = memory_needed([trial.plain for trial in left.values()])
        yield from [Failed(digest, f"out of memory: {needed}") for digest in left]
    elif size == 1:
        yield from [Failed(digest, why) for digest in left]
    else:
        part_size = half(size) if cause is _Cause.MEMORY else 1
        halved = halved or cause is _Cause.MEMORY
        for part in split_pack(list(left.items()), part_size):
            yield from _train(dict(part), settings, guard, halved=halved)


def _ended_trial(message: Message) -> str:
    """Return the hash of the trial whose last message this is; "" for any other message."""
    if isinstance(message, Done):
        return message.record.config_hash
    return message.config_hash if isinstance(message, Failed | Stopped) else ""
