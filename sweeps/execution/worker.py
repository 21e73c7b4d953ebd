"""One pack of trials on a worker: plain configs in, messages out.

Runs wherever it is called: in a Ray actor or in this very process.
"""

import math
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import deq
from deq.training.checkpoint import UnusableError
from sweeps.config.early_stopping import STOPPED_AT, Stopping
from sweeps.config.hashing import cell_hash, config_hash
from sweeps.config.nested import format_bytes, one_line
from sweeps.config.request import trial_from_plain
from sweeps.execution.checkpoint_writer import CheckpointWriter
from sweeps.execution.endings import endings
from sweeps.execution.environment import environment
from sweeps.execution.events import Done, Failed, Live, Message, Note, Progress, Stopped
from sweeps.execution.live import LiveSender, plain_columns
from sweeps.storage.checkpoints import Checkpoints, discard_pack
from sweeps.storage.record import Record, now
from sweeps.storage.stop_requests import Guard, PendingStops
from sweeps.storage.weights import save_weights

# Seconds between two progress messages of a pack.
PROGRESS_EVERY = 0.5


def run_pack(
    plains: list[dict[str, Any]],
    device: str,
    threads: int,
    checkpoints: Checkpoints | None = None,
    stopping: Stopping | None = None,
    live_seconds: float = 0.0,
    guard: Guard | None = None,
    weights: Path | None = None,
) -> Generator[Message]:
    """Train a pack; a trial that raises fails alone: those not yet done are trained singly.

    A pack that does not fit in memory is halved, once; a half that does not fit fails, and
    says what it needs. A pack that has a checkpoint goes on from it. What `stopping` ends
    early is done with the status `stopped`. Every `live_seconds` the trials' points are shown.
    What is asked through `guard` is done between two GD steps: a trial that is to be stopped
    leaves the pack with a checkpoint of its own, and of a whole pack one is written. The
    weights of each result are in the folder `weights`, where one is given.
    """
    deq.set_threads(threads)
    options = (stopping, live_seconds, guard or Guard(), weights)
    yield from _tried(plains, device, checkpoints, *options, halved=False)


def needed(plains: list[dict[str, Any]]) -> str:
    """The memory that a pack needs, and what to do, as the end of a sentence."""
    config = trial_from_plain(plains[0])
    d, n = deq.load(config.data).x.shape
    size = format_bytes(len(plains) * deq.memory(config, d, n))
    if len(plains) == 1:
        return f"the trial needs about {size}: lower model.width or data.n"
    return f"{len(plains)} trials together need about {size}: lower pack"


def _tried(
    plains: list[dict[str, Any]],
    device: str,
    checkpoints: Checkpoints | None,
    stopping: Stopping | None,
    live_seconds: float,
    guard: Guard,
    weights: Path | None,
    *,
    halved: bool,
) -> Iterator[Message]:
    options = (stopping, live_seconds, guard, weights)
    hashes = [config_hash(trial_from_plain(plain)) for plain in plains]
    asked = guard.of(hashes)  # before they begin, or after their worker was ended
    yield from endings(asked, guard.timeout)
    left = {h: plain for h, plain in zip(hashes, plains, strict=True) if h not in asked}
    plains = list(left.values())
    configs = [trial_from_plain(plain) for plain in plains]
    if not left or guard.pending().sweep:
        return
    try:
        for message in _run(configs, plains, device, checkpoints, *options):
            yield message
            left.pop(_ended(message), None)
        if not left or guard.pending().sweep:
            return
        split, memory, unusable, why = True, False, False, ""
    except Exception as error:  # whatever a trial raises is that trial's failure
        split, memory, why = False, _is_out_of_memory(error), one_line(error)
        unusable = isinstance(error, UnusableError)
    # Not inside the except: there the error's traceback holds the pack's tensors.
    if split:
        rest = list(left.values())
        yield from _tried(rest, device, checkpoints, *options, halved=halved)
    elif unusable:
        yield from _notes(list(left), [f"its checkpoint is not used ({why}): starts anew"])
        checkpoints = discard_pack(checkpoints, list(left))
        yield from _tried(plains, device, checkpoints, *options, halved=halved)
    elif memory and (halved or len(plains) == 1):
        for digest in left:
            yield Failed(digest, f"out of memory: {needed(list(left.values()))}")
    elif len(plains) == 1:
        yield Failed(config_hash(configs[0]), why)
    else:
        rest = list(left.values())
        size = -(-len(plains) // 2) if memory else 1
        for i in range(0, len(rest), size):
            part = rest[i : i + size]
            again = halved or memory
            yield from _tried(part, device, checkpoints, *options, halved=again)


def _ended(message: Message) -> str:
    """The config hash of the trial that a message is the last of; empty where it is of none."""
    if isinstance(message, Done):
        return message.record.config_hash
    return message.config_hash if isinstance(message, Failed | Stopped) else ""


def _is_out_of_memory(error: Exception) -> bool:
    """Whether this is what Python or torch raises when an allocation fails."""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def _run(
    configs: list[deq.TrialConfig],
    plains: list[dict[str, Any]],
    device: str,
    checkpoints: Checkpoints | None,
    stopping: Stopping | None,
    live_seconds: float,
    guard: Guard,
    weights: Path | None,
) -> Iterator[Message]:
    hashes = [config_hash(config) for config in configs]
    guard.start(hashes)
    keeper = CheckpointWriter(checkpoints, hashes, device)
    checkpoint, news = keeper.newest()
    yield from _notes(hashes, news)
    showing = LiveSender(
        live_seconds, keeper.started, keeper.folder, resumed=checkpoint is not None
    )
    last, apart, pending = 0.0, False, dict(zip(hashes, range(len(hashes)), strict=True))
    begun = checkpoint.step if checkpoint else 0
    steps = configs[0].train.steps
    yield from [Progress(digest, begun, steps, math.nan) for digest in hashes]
    keep = weights is not None
    training = deq.train_pack(configs, device=device, checkpoint=checkpoint, keep_weights=keep)
    for descent in training:
        try:
            if time.monotonic() - last >= PROGRESS_EVERY:
                last = time.monotonic()
                yield from [_progress(digest, descent.courses[k]) for digest, k in pending.items()]
            for digest, k in list(pending.items()):
                if stopping is not None:
                    _stop(descent, k, digest, stopping)
                if descent.courses[k].status is not None:
                    del pending[digest]
                    guard.trial_ended(digest)
                    record = _record(descent.courses[k], plains[k], device, keeper, showing)
                    record, lines = save_weights(weights, record, descent.courses[k])
                    yield from [Note(digest, line) for line in lines]
                    yield Done(record)
            apart, said = _heed(descent, pending, keeper, guard)
            yield from said
            if apart:
                return
            for k, points in showing.points({k: descent.courses[k] for k in pending.values()}):
                yield Live(hashes[k], keeper.started, device, points)
            yield from _notes(hashes, keeper.keep(descent))
        except GeneratorExit:  # interrupted, between two steps
            if not apart:
                list(keeper.write(descent))
            raise


def _heed(
    descent: deq.Descent, pending: dict[str, int], keeper: CheckpointWriter, guard: Guard
) -> tuple[bool, list[Message]]:
    """End what is asked to end; whether the pack is to be left, and what is said of it.

    It is left where the whole sweep ends, and where its parts have checkpoints of their own.
    """
    asked, hashes = guard.poll() if pending else PendingStops(), keeper.pack
    if asked.sweep:
        return True, list(_notes(hashes, keeper.write(descent)))
    if not asked.trials:
        return False, []
    stopped = [digest for digest in hashes if digest in asked.trials and asked.trials[digest].by]
    rest = [digest for digest in hashes if digest not in asked.trials]
    apart = bool(stopped) and keeper.split(descent, [part for part in (stopped, rest) if part])
    if not apart:  # a checkpoint of this pack would hold trials as ended that are not
        keeper.close()
    steps = {digest: _progress(digest, descent.courses[k]) for digest, k in pending.items()}
    said = list(endings(asked.trials, guard.timeout, steps, kept=apart))
    for message in said:
        descent.stop(descent.courses[pending.pop(message.config_hash)], "")
        guard.trial_ended(message.config_hash)
    return apart, [*said]


def _stop(descent: deq.Descent, k: int, digest: str, stopping: Stopping) -> None:
    """End a trial that is at a rung and not among the best there."""
    course = descent.courses[k]
    if course.status is not None or not course.rows:
        return
    step, ratio = int(course.rows[-1]["step"]), course.rows[-1]["loss"] / course.rows[0]["loss"]
    if stopping.ends(digest, step, course.config.train.steps, ratio):
        descent.stop(course, f"at step {step} others of the sweep had done better")


def _progress(digest: str, course: deq.Course) -> Progress:
    row = course.rows[-1] if course.rows else {}
    step, loss = int(row.get("step", 0)), row.get("loss", math.nan)
    return Progress(digest, step, course.config.train.steps, loss)


def _notes(hashes: Sequence[str], lines: Iterable[str]) -> Iterator[Note]:
    pack = f"pack of {len(hashes)}: " if len(hashes) > 1 else ""
    for line in lines:
        yield Note(hashes[0], pack + line)


def _record(
    course: deq.Course,
    plain: dict[str, Any],
    device: str,
    keeper: CheckpointWriter,
    showing: LiveSender,
) -> Record:
    outcome = deq.compare(course)
    stopped = {}
    if outcome.status is deq.Status.STOPPED:
        stopped = {STOPPED_AT: course.rows[-1]["step"]}
    return Record(
        config_hash=config_hash(course.config),
        cell_hash=cell_hash(course.config),
        config=plain,
        status=outcome.status.value,
        reason=outcome.reason,
        summary=outcome.summary | stopped,
        notes=outcome.notes,
        device=device,
        environment=environment()
        | {"resumed_at": keeper.resumed_at}
        | showing.shown.environment(len(course.rows)),
        started=keeper.started,
        finished=now(),
        trajectory=plain_columns(outcome.trajectory),
    )
