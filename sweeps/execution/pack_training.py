"""One attempt at training a pack, from its checkpoint or its beginning to its end."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import deq
from sweeps.config.early_stopping import STOPPED_AT
from sweeps.config.hashing import both_hashes
from sweeps.config.request import trial_from_plain
from sweeps.execution.checkpoint_writer import CheckpointWriter
from sweeps.execution.endings import endings
from sweeps.execution.environment import environment
from sweeps.execution.events import Done, Message, Note, Progress
from sweeps.execution.live import LiveSender, plain_columns
from sweeps.execution.settings import WorkerSettings
from sweeps.storage.record import Record, Trajectory, now
from sweeps.storage.step_metrics import Live
from sweeps.storage.stop_requests import Guard, PendingStops
from sweeps.storage.weights import save_weights

# Seconds between two progress messages of a trial.
PROGRESS_EVERY = 0.5


class WorkerTrial(NamedTuple):
    """A trial on a worker, where its config is validated and hashed once."""

    config: deq.TrialConfig
    plain: dict[str, Any]
    cell_hash: str

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "tuple[str, WorkerTrial]":
        """(config hash, trial) of a plain config."""
        config = trial_from_plain(plain)
        config_hash, cell_hash = both_hashes(config)
        return config_hash, cls(config, plain, cell_hash)


class PackTraining:
    """Trains a pack once; what it raises is the caller's to handle."""

    def __init__(
        self, trials: dict[str, WorkerTrial], settings: WorkerSettings, guard: Guard
    ) -> None:
        """Prepare; nothing is trained yet.

        Args:
            trials: the pack, by config hash.
            settings: how to train them.
            guard: looks for stop requests.
        """
        self._trials, self._hashes = list(trials.values()), list(trials)
        self._settings, self._guard = settings, guard
        self._writer = CheckpointWriter(settings.checkpoints, self._hashes, settings.device)
        # Index in the pack of each trial that has not ended.
        self._running = {digest: k for k, digest in enumerate(self._hashes)}
        self._left, self._reported = False, 0.0

    def messages(self) -> Iterator[Message]:
        """Train; yield what happens."""
        self._guard.start(self._hashes)
        checkpoint, lines = self._writer.newest()
        yield from notes(self._hashes, lines)
        self._live = LiveSender(
            self._settings.live_seconds,
            self._writer.started,
            self._writer.folder,
            resumed=checkpoint is not None,
            device=self._settings.device,
        )
        first, steps = checkpoint.step if checkpoint else 0, self._trials[0].config.train.steps
        yield from [Progress(digest, first, steps, math.nan) for digest in self._hashes]
        for descent in deq.train_pack(
            [trial.config for trial in self._trials],
            device=self._settings.device,
            checkpoint=checkpoint,
            keep_weights=self._settings.weights is not None,
        ):
            try:
                yield from self._after_step(descent)
            except GeneratorExit:  # interrupted, between two steps
                if not self._left:
                    list(self._writer.write(descent))
                raise
            if self._left:
                return

    def _after_step(self, descent: deq.GradientDescent) -> Iterator[Message]:
        """Report, end trials and write checkpoints between two GD steps."""
        if time.monotonic() - self._reported >= PROGRESS_EVERY:
            self._reported = time.monotonic()
            yield from [_progress(h, descent.runs[k]) for h, k in self._running.items()]
        yield from self._end_finished(descent)
        yield from self._follow_requests(descent)
        if self._left:
            return
        running = {k: descent.runs[k] for k in self._running.values()}
        for k, points in self._live.points(running):
            yield Live(self._hashes[k], self._writer.started, self._settings.device, points)
        yield from notes(self._hashes, self._writer.write_if_due(descent))

    def _end_finished(self, descent: deq.GradientDescent) -> Iterator[Message]:
        """Yield the records of trials that have ended, or that early stopping ends now."""
        for digest, k in list(self._running.items()):
            run = descent.runs[k]
            self._stop_early(descent, run, digest)
            if run.status is None:
                continue
            del self._running[digest]
            self._guard.trial_ended(digest)
            record, lines = save_weights(self._settings.weights, self._record(run, k), run)
            yield from [Note(digest, line) for line in lines]
            yield Done(record)

    def _stop_early(self, descent: deq.GradientDescent, run: deq.TrainingRun, digest: str) -> None:
        """End a trial that is at a rung of early stopping and not among the best there."""
        stopping, rows = self._settings.stopping, run.rows
        if stopping is None or run.status is not None or not rows:
            return
        step, ratio = int(rows[-1]["step"]), rows[-1]["loss"] / rows[0]["loss"]
        if stopping.ends(digest, step, run.config.train.steps, ratio):
            descent.stop(run, f"at step {step} others of the sweep had done better")

    def _follow_requests(self, descent: deq.GradientDescent) -> list[Message]:
        """End what was requested to end; return the messages on it.

        The pack is left when the whole sweep ends, and when the rest of the pack has a
        checkpoint of its own, from which the caller continues.
        """
        asked = self._guard.poll() if self._running else PendingStops()
        if asked.sweep:
            self._left = True
            return list(notes(self._hashes, self._writer.write(descent)))
        if not asked.trials:
            return []
        by_person = [h for h in self._hashes if h in asked.trials and asked.trials[h].by]
        rest = [h for h in self._hashes if h not in asked.trials]
        parts = [part for part in (by_person, rest) if part]
        self._left = bool(by_person) and self._writer.split(descent, parts)
        if not self._left:  # a checkpoint would hold stopped trials as ended
            self._writer.close()
        steps = {h: _taken(h, descent, k) for h, k in self._running.items()}
        messages = list(endings(asked.trials, self._guard.timeout, steps, kept=self._left))
        for message in messages:
            descent.stop(descent.runs[self._running.pop(message.config_hash)], "")
            self._guard.trial_ended(message.config_hash)
        return [*messages]

    def _record(self, run: deq.TrainingRun, k: int) -> Record:
        outcome = deq.compare(run)
        stopped = {}
        if outcome.status is deq.Status.STOPPED:
            stopped = {STOPPED_AT: run.rows[-1]["step"]}
        return Record(
            config_hash=self._hashes[k],
            cell_hash=self._trials[k].cell_hash,
            config=self._trials[k].plain,
            status=outcome.status.value,
            reason=outcome.reason,
            summary=outcome.summary | stopped,
            notes=outcome.notes,
            device=self._settings.device,
            environment=environment()
            | {"resumed_at": self._writer.resumed_at}
            | self._live.shown.environment(len(run.rows)),
            started=self._writer.started,
            finished=now(),
            trajectory=Trajectory.of(plain_columns(outcome.trajectory)),
        )


def notes(hashes: Sequence[str], lines: Iterable[str]) -> Iterator[Note]:
    """Yield lines for the user about a pack."""
    pack = f"pack of {len(hashes)}: " if len(hashes) > 1 else ""
    for line in lines:
        yield Note(hashes[0], pack + line)


def _progress(digest: str, run: deq.TrainingRun) -> Progress:
    row = run.rows[-1] if run.rows else {}
    step, loss = int(row.get("step", 0)), row.get("loss", math.nan)
    return Progress(digest, step, run.config.train.steps, loss)


def _taken(digest: str, descent: deq.GradientDescent, k: int) -> Progress:
    """Number of GD steps that a trial has taken, which is the step of a checkpoint written now.

    It is one more than the step of the newest loss.
    """
    return replace(_progress(digest, descent.runs[k]), step=descent.step)
