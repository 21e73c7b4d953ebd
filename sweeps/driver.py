"""The driver: the one process that makes a sweep complete, and alone writes its record."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sweeps.announcement import announcement, next_round
from sweeps.checkpoints import Ended, checkpoints_of
from sweeps.config import LaunchConfig, launch_to_plain
from sweeps.early_stopping import AshaConfig, heights, of_sweep
from sweeps.entry import enter, note
from sweeps.errors import TrackingError
from sweeps.known import Known, known_of, table_of
from sweeps.ledger import Ledger, SweepEntry
from sweeps.messages import Done, Failed, Live, Message
from sweeps.output_root import folder_of
from sweeps.planning import Plan, PlannedTrial
from sweeps.pulse import Pulse
from sweeps.reaping import reap
from sweeps.record import now
from sweeps.redaction import without_secrets
from sweeps.report import Line
from sweeps.search.config import is_adaptive
from sweeps.search.findings import findings
from sweeps.search.start import kinds, name_of
from sweeps.settling import Unsent, settle
from sweeps.shipping import Shipper
from sweeps.terminal import Terminal
from sweeps.tracking.tracker import Tracker
from sweeps.unfolding import Unfolding
from sweeps.workers import Early, Train, training


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
        """How many trials have no result."""
        return sum(not line.finished for line in self.lines)


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
    ) -> None:
        """Nothing is planned yet.

        Args:
            launched: how to search, train and record.
            trials: those that are listed, or the cells that are searched.
            options: how the command asked for it.
            terminal: where to say what happens.
            tracker: the MLflow to record in.
            ledger: the output root's.

        Raises:
            TrackingError: the study's experiment cannot be had.
        """
        self._launched, self._cells, self._options = launched, trials, options
        self._terminal, self._tracker, self._ledger = terminal, tracker, ledger
        self._experiment = tracker.experiment(launched.study)
        self._name = name_of(launched, trials)
        self._folder = folder_of(ledger.path.parent, self._name)
        self._checkpoints = checkpoints_of(launched, self._name)
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
        for text in reap(self._tracker, self._ledger, self._experiment):
            self._terminal.say(text)
        if self._tracker.local:  # this process holds the root: nobody else trains here
            self._close_running((self._experiment, ""))
        settled = settle(self._tracker, self._ledger, [self._launched.study])
        for study, missing in settled.again.items():
            self._terminal.say(f"MLflow had lost {missing} of study {study}: sent again.")
        planned = self._sweep.advance()
        self._announce(planned)
        packs = planned.packs and [*planned.packs, kinds(self._launched, self._cells)]
        cluster = self._launched.cluster
        with training(
            packs,
            cluster,
            self._folder,
            self._checkpoints,
            self._early(),
            self._launched.tracking.live_seconds,
        ) as train:
            self._forget(planned)
            spec = self._spec() | self._sweep.spec()
            entry = enter(self._tracker, self._ledger, self._experiment, planned, spec)
            planned, lines, waits = self._to_its_end(entry, planned, train)
        page = self._ledger.page(self._tracker.name, entry.study, entry.sweep)
        links = self._tracker.links(page[0], self._name, page[1])
        return Finished(planned, len(self._sweep.trained), lines, links, waits.results, waits)

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
        self._terminal.say(announcement(planned))
        if strays := self._checkpoints.strays(planned.hashes):
            self._terminal.say(f"{len(strays)} of them start anew: they were begun in other packs.")

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
        try:
            page = entry.study, entry.sweep
            shipping = Shipper(self._tracker, self._ledger.path, page, self._terminal.mlflow)
            with shipping as shipper, self._tracker.leased(run):
                planned = self._rounds(entry, planned, train, shipper)
            self._checkpoints.tidy(self._sweep.known.ended)
            lines = self._lines()
            status = "FINISHED" if all(line.finished for line in lines) else "FAILED"
        finally:
            self._ledger.end_sweep(self._tracker.name, entry.study, entry.sweep, status)
            lease = self._tracker.leased(run)
            settled = settle(self._tracker, self._ledger, [entry.study], lease)
            self._close_running(self._ledger.page(self._tracker.name, entry.study, entry.sweep))
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
            self._pull(train(planned.packs), planned, shipper, ended)
            known = known_of(planned.trials, self._ledger, sweep=self._name)
            self._sweep.learn(planned, known)
            planned = self._sweep.advance()
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
        self, messages: Iterator[Message], planned: Plan, shipper: Shipper, ended: Ended
    ) -> None:
        """Pull what the workers say; every result is in the ledger before it is shown."""
        watch = self._terminal.watch(planned)
        trials = {trial.config_hash: trial for pack in planned.packs for trial in pack}
        with (
            watch as view,
            Pulse(self._folder, view.on_silence) as pulse,
            self._terminal.interruptible(),
        ):
            for message in map(_masked, messages):
                if isinstance(message, Done):
                    self._ledger.put(of_sweep(message.record, self._name), message.figure)
                    ended.add(message.record.config_hash)
                    shipper.notify()
                elif isinstance(message, Failed):
                    self._ledger.fail(message.config_hash, message.error, final=message.final)
                    shipper.failed(trials[message.config_hash], message.error)
                    if message.final:
                        ended.add(message.config_hash)
                elif isinstance(message, Live):
                    shipper.show(trials[message.config_hash], message)
                pulse.tell(message)
                view.tell(message)


def _masked(message: Message) -> Message:
    """Without this process's secrets, which a worker may say and not know."""
    if isinstance(message, Failed):
        return replace(message, error=without_secrets(message.error))
    return message
