"""Handles the messages of workers: into the ledger first, then to MLflow and the terminal."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sweeps.driver.live_view import LiveView
from sweeps.driver.outbox import OutboxWorker
from sweeps.driver.terminal import Terminal
from sweeps.errors import StoppedError
from sweeps.execution.events import Done, Failed, Message, Note, Progress, Stopped
from sweeps.planning.plan import PlannedTrial
from sweeps.redaction import without_secrets
from sweeps.storage import weights
from sweeps.storage.checkpoints import CheckpointCleaner
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.step_metrics import Live
from sweeps.storage.stop_requests import STOPPED_BY, StopRequests


class MessageHandler:
    """Handles all messages of one sweep's workers."""

    def __init__(
        self,
        entry: SweepEntry,
        ledger: Ledger,
        outbox: OutboxWorker,
        terminal: Terminal,
        view: LiveView,
        requests: StopRequests,
        weights_folder: Path,
        live_seconds: float,
    ) -> None:
        """Prepare for the messages of a sweep.

        Args:
            entry: the sweep.
            ledger: where results and failures are written.
            outbox: sends them to MLflow.
            terminal: its `progress` counts the trials.
            view: shows the messages to the user.
            requests: requests to stop the sweep.
            weights_folder: folder that holds the trials' weights.
            live_seconds: seconds between two updates of the sweep's page in MLflow; 0: none.
        """
        self._entry, self._ledger, self._outbox = entry, ledger, outbox
        self._progress, self._terminal, self._view = terminal.progress, terminal, view
        self._requests, self._weights = requests, weights_folder
        self._live_seconds, self._described = live_seconds, time.monotonic()
        self._failed_before: set[str] = set()  # trials that have not started again yet

    def handle_all(
        self,
        messages: Iterator[Message],
        trials: Mapping[str, PlannedTrial],
        ended: CheckpointCleaner,
    ) -> None:
        """Handle the messages of one round; a result is in the ledger before it is shown.

        Args:
            messages: what the workers send; training begins when the first one is pulled.
            trials: the trials of the sweep, by config hash.
            ended: removes the checkpoints of packs that have ended.

        Raises:
            StoppedError: a person asked for the sweep to end.
        """
        self._failed_before = set(self._ledger.failures(trials))
        with self._view.shown(), self._terminal.interruptible():
            # A sweep that was stopped while it started trains nothing.
            asked = iter(()) if self._requests.of_sweep() else messages
            for message in map(_without_secrets, asked):
                self._record(message, trials, ended)
                self._progress.on_event(message)
                self._view.on_event(message)
                self._update_page()
        stop = self._requests.of_sweep()
        if stop and self._progress.ended < self._progress.asked:
            self._note_stop(stop.by)
            resume = f"run the same command, or `sweeps resume {self._entry.sweep}`, to continue"
            raise StoppedError(f"{STOPPED_BY} {stop.by}; {resume}")

    def _record(
        self, message: Message, trials: Mapping[str, PlannedTrial], ended: CheckpointCleaner
    ) -> None:
        """Write a result or a failure into the ledger, and pass it to the outbox."""
        if isinstance(message, Progress):
            self._forget_failure(message.config_hash)
        elif isinstance(message, Done):
            self._put(message)
            ended.add(message.record.config_hash)
            self._outbox.notify()
        elif isinstance(message, Failed):
            self._ledger.save_failure(message.config_hash, message.error, final=message.final)
            self._outbox.close(message.config_hash, "FAILED", message.error)
            if message.final:
                ended.add(message.config_hash)
        elif isinstance(message, Stopped):
            self._ledger.save_failure(message.config_hash, str(message), final=False)
            self._outbox.close(message.config_hash, "KILLED", str(message), message.by)
            self._note_stop(message.by)
        elif isinstance(message, Live):
            self._outbox.show(trials[message.config_hash], message)

    def _forget_failure(self, config_hash: str) -> None:
        """Delete the failure, or the stop, of an earlier training once the trial starts again."""
        if config_hash in self._failed_before:
            self._failed_before.discard(config_hash)
            self._ledger.delete_failures([config_hash])

    def _put(self, message: Done) -> None:
        record, lines = weights.check_weights(self._weights, message.record)
        for line in lines:
            self._view.on_event(Note(record.config_hash, line))
        replaced = self._ledger.save(record.in_sweep(self._entry.sweep), message.figure)
        weights.delete_files(self._weights, replaced - {record.weights})

    def _update_page(self) -> None:
        """Update the description of the sweep's page in MLflow, if it is time."""
        now = time.monotonic()
        if self._live_seconds and now - self._described >= self._live_seconds:
            self._described = now
            self._outbox.describe(f"**Running**: {self._progress.sentence()}.")

    def _note_stop(self, by: str) -> None:
        """Write into the ledger who stopped the sweep or a trial of it, for the sweep's page."""
        entry = self._entry
        current = self._ledger.sweep(entry.tracker, entry.study, entry.sweep)
        assert current is not None
        spec = current.spec | {"stopped_by": by}
        self._ledger.update_spec(entry.tracker, replace(current, spec=spec))


def _without_secrets(message: Message) -> Message:
    """Mask this process's secrets in an error: the worker does not know them."""
    if isinstance(message, Failed):
        return replace(message, error=without_secrets(message.error))
    return message
