"""The driver: the one process that makes a sweep complete, and alone writes its record."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import nullcontext as nothing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sweeps import weights
from sweeps.announcement import announcement, next_round
from sweeps.checkpoints import Ended, checkpoints_of
from sweeps.config import ClusterConfig, LaunchConfig, launch_to_plain
from sweeps.early_stopping import AshaConfig, heights, of_sweep
from sweeps.entry import enter, note
from sweeps.errors import StoppedError, TrackingError
from sweeps.known import Known, known_of, table_of
from sweeps.ledger import Ledger, SweepEntry
from sweeps.live_view import LiveView
from sweeps.messages import Done, Failed, Live, Message, Note, Stopped
from sweeps.output_root import folder_of
from sweeps.planning import Plan, PlannedTrial
from sweeps.pulse import Pulse
from sweeps.reaping import reap
from sweeps.record import now
from sweeps.redaction import without_secrets
from sweeps.report import STOPPED_BY_PERSON, Line
from sweeps.search.config import is_adaptive
from sweeps.search.findings import findings
from sweeps.search.start import kinds, name_of
from sweeps.settling import Unsent, settle
from sweeps.shipping import Shipper
from sweeps.stop_requests import STOPPED_BY, SWEEP, StopRequests
from sweeps.terminal import Terminal
from sweeps.tracking.tracker import Tracker
from sweeps.unfolding import Unfolding
from sweeps.workers import Early, Train, training
from sweeps.workers.own_ray import OwnRay


@dataclass(frozen=True)
class Options:
    """How the command asked for it.

    Attributes:
        command: as it was typed.
        sources: the texts of a user's config files that it was composed from, by name.
        force: train again what is finished.
        retry_failed: try again what raised before.
    """

    command: str
    sources: dict[str, str] = field(default_factory=dict)
    force: bool = False
    retry_failed: bool = False


@dataclass(frozen=True)
class Finished:
    """A sweep that has been run to its end.

    Attributes:
        plan: the sweep as it stands now.
        trained: how many trials were trained by this launch.
        lines: what came of each trial.
        links: where MLflow shows it.
        unsent: how many results of this study MLflow has not taken yet.
        waits: what of this study, pages too, MLflow has not taken; false when it has all.
    """

    plan: Plan
    trained: int
    lines: list[Line]
    links: dict[str, str]
    unsent: int
    waits: Unsent = field(default_factory=Unsent)

    @property
    def failed(self) -> int:
        """Number of trials that have no result and were not stopped by a person."""
        return sum(not line.finished for line in self.lines) - self.stopped

    @property
    def stopped(self) -> int:
        """Number of trials that a person stopped."""
        return sum(line.status == STOPPED_BY_PERSON for line in self.lines)


class Driver:
    """Trains what is missing of a sweep, ships what is owed and reports, on a root it holds."""

    def __init__(
        self,
        launched: LaunchConfig,
        trials: list[PlannedTrial],
        options: Options,
        terminal: Terminal,
        tracker: Tracker,
        ledger: Ledger,
        own: OwnRay,
        announced: str = "",
    ) -> None:
        """Nothing is planned yet.

        Args:
            launched: how to search, train and record.
            trials: those that are listed, or the cells that are searched.
            options: how the command asked for it.
            terminal: where to say what happens.
            tracker: the MLflow to record in.
            ledger: the output root's.
            own: the Ray to train on where that is this machine's own; it may be there already.
            announced: what was said of the plan before MLflow was asked.

        Raises:
            TrackingError: the study's experiment cannot be had.
        """
        self._launched, self._cells, self._options = launched, trials, options
        self._terminal, self._tracker, self._ledger = terminal, tracker, ledger
        self._experiment = tracker.experiment(launched.study)
        self._name = name_of(launched, trials)
        self._described, self._announced = time.monotonic(), announced
        self._own = own
        self._folder = folder_of(ledger.path.parent, self._name)
        self._checkpoints = checkpoints_of(launched, self._name)
        self._weights = weights.folder_of(ledger.path.parent)
        self._requests = StopRequests.of(self._folder, launched.cluster.trial_timeout)
        self._view = LiveView(terminal, self._name)
        self._sweep = Unfolding(
            launched,
            trials,
            self._look,
            begun=list(self._checkpoints.packs().values()),
            retry_failed=options.retry_failed,
        )

    def complete(self) -> Finished:
        """Make the sweep complete.

        Raises:
            ConfigError: there are no workers for it; nothing was started.
            TrackingError: MLflow does not take its page; nothing was started.
        """
        waiting = self._terminal.waiting
        with waiting("comparing the record with MLflow"):
            for text in reap(self._tracker, self._ledger, self._experiment):
                self._terminal.say(text)
            settled = settle(self._tracker, self._ledger, [self._launched.study])
        for study, missing in settled.again.items():
            self._terminal.say(f"MLflow had lost {missing} of study {study}: sent again.")
        planned = self._advance()
        self._announce(planned)
        self._requests.clear()
        with contextlib.ExitStack() as stack:
            with waiting(_workers(self._launched.cluster)) if planned.packs else nothing():
                train = stack.enter_context(self._training(planned))
            stack.enter_context(Pulse(self._folder, self._terminal.progress, self._view.on_stuck))
            self._forget(planned)
            spec = self._spec() | self._sweep.spec()
            entry = enter(self._tracker, self._ledger, self._experiment, planned, spec)
            planned, lines, waits = self._to_its_end(entry, planned, train)
        page = self._ledger.page(self._tracker.name, entry.study, entry.sweep)
        links = self._tracker.links(page[0], self._name, page[1])
        return Finished(planned, len(self._sweep.trained), lines, links, waits.results, waits)

    def _advance(self) -> Plan:
        """The plan of the next round."""
        planned = self._sweep.advance()
        self._terminal.progress.plan(planned, self._sweep.reused)
        self._trials = {trial.config_hash: trial for trial in planned.trials}
        return planned

    def _training(self, planned: Plan) -> contextlib.AbstractContextManager[Train]:
        """The workers for this plan and what follows from it."""
        packs = planned.packs and [*planned.packs, kinds(self._launched, self._cells)]
        return training(
            packs,
            self._launched.cluster,
            self._folder,
            self._checkpoints,
            self._own,
            self._early(),
            self._launched.tracking.live_seconds,
            self._requests,
            self._weights if self._launched.record.weights else None,
        )

    def _look(self, asked: list[PlannedTrial]) -> Known:
        """What is known of trials before they are trained."""
        if self._options.force:
            return Known()
        try:
            experiment = self._tracker.experiment(self._launched.study)  # another by now, perhaps
            return known_of(asked, self._ledger, self._tracker, experiment, sweep=self._name)
        except TrackingError:  # away since: what is begun goes on without it
            return known_of(asked, self._ledger, sweep=self._name)

    def _announce(self, planned: Plan) -> None:
        """Say what is to be trained, after the checkpoints nobody needs are gone."""
        self._checkpoints.tidy(planned.finished | planned.failed)
        if (text := announcement(planned)) != self._announced:
            self._terminal.say(text)
        if self._launched.record.weights:
            self._say_lacking(planned)
        if strays := self._checkpoints.strays(planned.hashes):
            self._terminal.say(f"{len(strays)} of them start anew: they were begun in other packs.")

    def _say_lacking(self, planned: Plan) -> None:
        """Say which finished trials have no weights: the user has asked for them."""
        held = self._ledger.with_weights()
        if weights.lacking(planned, held):  # another machine may have kept them
            held |= self._tracker.presence.with_weights(self._experiment)
        for line in weights.lacking(planned, held):
            self._terminal.say(line)

    def _early(self) -> Early | None:
        """How trials are stopped early, and how high those stand that have ended."""
        config, found = self._launched.early_stopping, {}
        if not isinstance(config, AshaConfig):
            return None
        for trial in self._sweep.trials:
            columns = self._ledger.trajectory_in(self._name, trial.config_hash)
            if columns:
                found[trial.config_hash] = heights(config, columns, trial.plain["train"]["steps"])
        return config, found

    def _forget(self, planned: Plan) -> None:
        """Where it was asked for, drop what is known of the trials that are to be trained."""
        if not self._options.force:
            return
        hashes = [trial.config_hash for pack in planned.packs for trial in pack]
        self._ledger.forget(hashes)
        self._checkpoints.forget(hashes)
        weights.forget(self._weights, hashes)
        self._tracker.discard(self._tracker.experiment(self._launched.study), hashes)

    def _spec(self) -> dict[str, Any]:
        """What of a sweep does not change while it unfolds, as plain data."""
        adaptive = is_adaptive(self._launched.search)
        return {
            "command": self._options.command,
            "sources": self._options.sources,
            "figure": self._launched.figure,
            "launch": launch_to_plain(self._launched),
            "started": now(),
            "cells": [asdict(cell) for cell in self._cells] if adaptive else [],
        }

    def _to_its_end(
        self, entry: SweepEntry, planned: Plan, train: Train
    ) -> tuple[Plan, list[Line], Unsent]:
        """Train, and close the page whatever happens: the last plan, the lines, what waits."""
        status, run = "KILLED", entry.run_id
        with contextlib.ExitStack() as sending:
            try:
                page = entry.study, entry.sweep
                shipping = Shipper(self._tracker, self._ledger.path, page, self._terminal.mlflow)
                with shipping as shipper, self._tracker.leased(run):
                    try:
                        planned = self._rounds(entry, planned, train, shipper)
                    finally:
                        sending.enter_context(self._terminal.waiting("sending to MLflow"))
                self._checkpoints.tidy(self._sweep.known.ended)
                lines = self._lines()
                status = _status(lines)
            finally:
                self._ledger.end_sweep(self._tracker.name, entry.study, entry.sweep, status)
                lease = self._tracker.leased(run)
                settled = settle(self._tracker, self._ledger, [entry.study], lease)
                self._close_running(self._ledger.page(self._tracker.name, *page))
        waits = settled.unsent.get(entry.study, Unsent())
        self._terminal.mlflow(waits.why)
        return planned, lines, waits

    def _close_running(self, page: tuple[str, str]) -> None:
        """Close the runs of trials that were shown while they trained, and do not any more."""
        with contextlib.suppress(TrackingError):  # away: the next launch does
            self._tracker.close_running(*page)

    def _rounds(self, entry: SweepEntry, planned: Plan, train: Train, shipper: Shipper) -> Plan:
        """Train round after round until the search asks for nothing; the plan at the end."""
        while planned.packs:
            ended = Ended(self._checkpoints, planned.hashes)
            self._pull(train(planned.packs), entry, shipper, ended)
            known = known_of(planned.trials, self._ledger, sweep=self._name)
            self._sweep.learn(planned, known)
            planned = self._advance()
            if planned.packs:
                self._forget(planned)
                unfolded = replace(entry, spec=entry.spec | self._sweep.spec())
                note(self._tracker, self._ledger, unfolded, planned)
                found = findings(self._launched.search, self._lines())
                self._terminal.say(next_round(planned, found))
        return planned

    def _lines(self) -> list[Line]:
        """What has come of each trial so far."""
        return table_of(self._sweep.trials, self._sweep.reused, self._sweep.known)

    def _pull(
        self, messages: Iterator[Message], entry: SweepEntry, shipper: Shipper, ended: Ended
    ) -> None:
        """Pull what the workers say; every result is in the ledger before it is shown.

        Raises:
            StoppedError: a person asked for the sweep to end.
        """
        progress = self._terminal.progress
        with self._view.shown(), self._terminal.interruptible():
            for message in map(_masked, messages):
                self._record(message, shipper, ended)
                if isinstance(message, Stopped):
                    self._note_stop(entry, message.by)
                progress.tell(message)
                self._view.tell(message)
                self._describe(shipper)
        stop = self._requests.read().get(SWEEP)
        if stop and progress.ended < progress.asked:
            self._note_stop(entry, stop.by)
            again = f"the same command, or `sweeps resume {self._name}`, goes on from here"
            raise StoppedError(f"{STOPPED_BY} {stop.by}; {again}")

    def _describe(self, shipper: Shipper) -> None:
        """Have the sweep's page in MLflow say how it stands, every `tracking.live_seconds`."""
        every, now_ = self._launched.tracking.live_seconds, time.monotonic()
        if every and now_ - self._described >= every:
            self._described = now_
            shipper.describe(f"**Running**: {self._terminal.progress.sentence()}.")

    def _record(self, message: Message, shipper: Shipper, ended: Ended) -> None:
        """Write into the ledger how a trial ended, if this says so."""
        if isinstance(message, Done):
            record, said = weights.found(self._weights, message.record)
            for line in said:
                self._view.tell(Note(record.config_hash, line))
            self._ledger.put(of_sweep(record, self._name), message.figure)
            ended.add(message.record.config_hash)
            shipper.notify()
        elif isinstance(message, Failed):
            self._ledger.fail(message.config_hash, message.error, final=message.final)
            shipper.close(message.config_hash, "FAILED", message.error)
            if message.final:
                ended.add(message.config_hash)
        elif isinstance(message, Stopped):
            self._ledger.fail(message.config_hash, str(message), final=False)
            shipper.close(message.config_hash, "KILLED", str(message), message.by)
        elif isinstance(message, Live):
            shipper.show(self._trials[message.config_hash], message)

    def _note_stop(self, entry: SweepEntry, by: str) -> None:
        """Write into the ledger who stopped the sweep or a trial of it, for its page."""
        current = self._ledger.sweep(self._tracker.name, entry.study, entry.sweep)
        assert current is not None
        spec = current.spec | {"stopped_by": by}
        self._ledger.unfolded(self._tracker.name, replace(current, spec=spec))


def _workers(cluster: ClusterConfig) -> str:
    """Text to show until there are workers."""
    names = {"local": "starting Ray", "ray": f"joining Ray at {cluster.address}"}
    return names.get(cluster.name, "loading the engine")


def _status(lines: list[Line]) -> str:
    """Final status of a sweep: FINISHED, FAILED, or KILLED by a person."""
    if all(line.finished for line in lines):
        return "FINISHED"
    others = [line for line in lines if not line.finished and line.status != STOPPED_BY_PERSON]
    return "FAILED" if others else "KILLED"


def _masked(message: Message) -> Message:
    """Without this process's secrets, which a worker may say and not know."""
    if isinstance(message, Failed):
        return replace(message, error=without_secrets(message.error))
    return message
