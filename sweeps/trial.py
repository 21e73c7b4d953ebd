"""One pack of trials on a worker: plain configs in, messages out.

Runs wherever it is called: in a Ray actor or in this very process.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import deq
from sweeps.config import trial_from_plain
from sweeps.environment import environment
from sweeps.identity import cell_hash, config_hash
from sweeps.plain import in_bytes, one_line
from sweeps.record import Record, now

# Seconds between two progress messages of a pack.
PROGRESS_EVERY = 0.5


@dataclass(frozen=True)
class Progress:
    """Where a trial is."""

    config_hash: str
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Done:
    """A trial that ended with a result."""

    record: Record


@dataclass(frozen=True)
class Failed:
    """A trial without a result.

    Attributes:
        config_hash: which.
        error: what it raised, or what became of its worker.
        final: whether trying again is of no use, as when the trial itself raised.
    """

    config_hash: str
    error: str
    final: bool = True


Message = Progress | Done | Failed


def run_pack(plains: list[dict[str, Any]], device: str, threads: int) -> Iterator[Message]:
    """Train a pack; a trial that raises fails alone: those not yet done are trained singly.

    A pack that does not fit in memory is halved, once; a half that does not fit fails, and
    says what it needs.
    """
    deq.set_threads(threads)
    yield from _tried(plains, device, halved=False)


def needed(plains: list[dict[str, Any]]) -> str:
    """The memory that a pack needs, and what to do, as the end of a sentence."""
    config = trial_from_plain(plains[0])
    d, n = deq.load(config.data).x.shape
    size = in_bytes(len(plains) * deq.memory(config, d, n))
    if len(plains) == 1:
        return f"the trial needs about {size}: lower model.width or data.n"
    return f"{len(plains)} trials together need about {size}: lower pack"


def _tried(plains: list[dict[str, Any]], device: str, *, halved: bool) -> Iterator[Message]:
    configs = [trial_from_plain(plain) for plain in plains]
    left = {config_hash(config): plain for config, plain in zip(configs, plains, strict=True)}
    try:
        for message in _run(configs, plains, device):
            yield message
            if isinstance(message, Done):
                del left[message.record.config_hash]
        return
    except Exception as error:  # whatever a trial raises is that trial's failure
        memory, why = _is_out_of_memory(error), one_line(error)
    # Not inside the except: there the error's traceback holds the pack's tensors.
    if memory and (halved or len(plains) == 1):
        for digest in left:
            yield Failed(digest, f"out of memory: {needed(list(left.values()))}")
    elif len(plains) == 1:
        yield Failed(config_hash(configs[0]), why)
    else:
        rest = list(left.values())
        size = -(-len(plains) // 2) if memory else 1
        for i in range(0, len(rest), size):
            yield from _tried(rest[i : i + size], device, halved=halved or memory)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether this is what Python or torch raises when an allocation fails."""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def _run(
    configs: list[deq.TrialConfig], plains: list[dict[str, Any]], device: str
) -> Iterator[Message]:
    hashes = [config_hash(config) for config in configs]
    started, last = now(), 0.0
    pending = set(range(len(configs)))
    for descent in deq.train_pack(configs, device=device):
        if time.monotonic() - last >= PROGRESS_EVERY:
            last = time.monotonic()
            for k in pending:
                row = descent.courses[k].rows[-1] if descent.courses[k].rows else {}
                step, loss = int(row.get("step", 0)), row.get("loss", math.nan)
                yield Progress(hashes[k], step, configs[k].train.steps, loss)
        for k in [k for k in pending if descent.courses[k].status is not None]:
            pending.discard(k)
            outcome = deq.compare(descent.courses[k])
            yield Done(_record(configs[k], plains[k], outcome, device, started))


def _record(
    config: deq.TrialConfig,
    plain: dict[str, Any],
    outcome: deq.Outcome,
    device: str,
    started: int,
) -> Record:
    return Record(
        config_hash=config_hash(config),
        cell_hash=cell_hash(config),
        config=plain,
        status=outcome.status.value,
        reason=outcome.reason,
        summary=outcome.summary,
        notes=outcome.notes,
        device=device,
        environment=environment(),
        started=started,
        finished=now(),
        trajectory={
            name: [v if math.isfinite(v) else None for v in values.tolist()]
            for name, values in outcome.trajectory.items()
        },
    )
