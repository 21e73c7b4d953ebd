"""The driver: the one process that completes a sweep. It alone writes the sweep's record."""

import contextlib
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

from sweeps.config.early_stopping import AshaConfig, rung_losses
from sweeps.config.launch import ClusterConfig, LaunchConfig
from sweeps.config.request import launch_to_plain
from sweeps.driver.announcement import announcement, missing_weights, next_round
from sweeps.driver.expired_runs import close_expired_runs
from sweeps.driver.interruption import InterruptionNotes
from sweeps.driver.launch_result import Finished, Options, final_status, ui_command
from sweeps.driver.message_handler import MessageHandler
from sweeps.driver.outbox import OutboxWorker
from sweeps.driver.page import is_stale
from sweeps.driver.register import register_sweep, update_sweep
from sweeps.driver.session import bring_back
from sweeps.driver.starting import StartingSweep
from sweeps.driver.sweep_state import SweepState
from sweeps.driver.sync import PendingItems, sync_study
from sweeps.driver.terminal import Terminal
from sweeps.driver.trial_states import TrialStates, load_states, outcomes_of
from sweeps.errors import TrackingError
from sweeps.execution.executor import Early, Train, training
from sweeps.execution.own_ray import OwnRay
from sweeps.execution.settings import WorkerSettings
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import Plan, PlannedTrial
from sweeps.search.factory import choice_trials
from sweeps.search.registry import summarize
from sweeps.storage import weights
from sweeps.storage.checkpoints import CheckpointCleaner, checkpoints_of
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.output_root import folder_of
from sweeps.storage.record import ResultKey, now
from sweeps.tracking.tracker import Tracker


class Driver:
    """Trains the missing trials of a sweep, sends the results to MLflow and writes the report.

    The process holds the output root meanwhile.
    """

    def __init__(
        self,
        launched: LaunchConfig,
        sweep: SweepState,
        options: Options,
        terminal: Terminal,
        tracker: Tracker,
        ledger: Ledger,
        own: OwnRay,
        starting: StartingSweep,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            launched: how to search, train and record.
            sweep: the sweep, whose first round was planned by the ledger.
            options: options of the command.
            terminal: where to print.
            tracker: the MLflow to record in.
            ledger: the ledger of the output root.
            own: the Ray of this machine, which may have started already.
            starting: what other commands see of the sweep until it is registered.

        Raises:
            TrackingError: MLflow does not give the study's experiment.
        """
        self._launched, self._sweep, self._options = launched, sweep, options
        self._terminal, self._tracker, self._ledger = terminal, tracker, ledger
        self._experiment = tracker.experiment(launched.study)
        self._name, self._own, self._starting = sweep.sweep, own, starting
        self._folder = folder_of(ledger.path.parent, self._name)
        self._checkpoints = checkpoints_of(launched, self._name)
        self._weights = weights.folder_of(ledger.path.parent)
        self._requests, self._view = starting.requests, starting.view

    def complete(self, planned: Plan) -> Finished:
        """Complete the sweep.

        Args:
            planned: the plan of its first round.

        Raises:
            ConfigError: there are no workers for it; nothing was started.
            TrackingError: MLflow does not take its page; nothing was started.
            StoppedError: a person asked for the sweep to end.
            ClusterLostError: the Ray cluster does not answer any more.
        """
        self._sync_before()
        planned = self._sweep.with_lookup(planned, self._lookup)
        self._announce(planned)
        with contextlib.ExitStack() as stack:
            waiting = self._terminal.waiting(_workers_text(self._launched.cluster))
            # Workers of a sweep that was stopped while it started would have nothing to do.
            started = replace(planned, packs=[]) if self._requests.of_sweep() else planned
            with waiting if started.packs else nullcontext():
                train = stack.enter_context(self._training(started))
            stack.callback(self._bring_back)  # nothing was trained if the next lines raise
            self._forget(planned)
            spec = self._spec() | self._sweep.spec()
            entry = register_sweep(self._tracker, self._ledger, self._experiment, planned, spec)
            self._starting.registered()
            planned, outcomes, waits = self._train_and_close(entry, planned, train)
        links = self._links(entry)
        return Finished(planned, len(self._sweep.trained), outcomes, links, waits.results, waits)

    def _links(self, entry: SweepEntry) -> dict[str, str]:
        """Return the addresses of the sweep's pages in MLflow."""
        experiment, run = self._ledger.page(self._tracker.name, entry.study, entry.sweep)
        return self._tracker.links(experiment, self._name, run)

    def _say_where_to_watch(self, entry: SweepEntry) -> None:
        """Print the address of the trials' charts, which grow while the trials train."""
        command = ui_command(self._launched.tracking, self._launched.paths.output)
        before = f"{command}, then open " if command else ""
        self._terminal.say(f"To watch: {before}{self._links(entry)['trials']}")

    def _sync_before(self) -> None:
        """Close runs of drivers that died, and send what MLflow lacks of the study."""
        with self._terminal.waiting("comparing the record with MLflow"):
            for text in close_expired_runs(self._tracker, self._ledger, self._experiment):
                self._terminal.say(text)
            synced = sync_study(self._tracker, self._ledger, [self._launched.study])
        for study, missing in synced.resent.items():
            self._terminal.say(f"MLflow had lost {missing} of study {study}: sent again.")

    def _training(self, planned: Plan) -> contextlib.AbstractContextManager[Train]:
        """Start the workers for this plan and for the rounds after it."""
        settings = WorkerSettings.of(
            self._launched.cluster,
            self._checkpoints,
            live_seconds=self._launched.tracking.live_seconds,
            requests=self._requests,
            weights=self._weights if self._launched.record.weights else None,
        )
        packs = planned.packs and [*planned.packs, choice_trials(self._launched, self._sweep.cells)]
        return training(
            packs, self._launched.cluster, self._folder, settings, self._own, self._early()
        )

    def _lookup(self, trials: list[PlannedTrial]) -> TrialStates:
        """Load the states of trials that this launch has not trained."""
        if self._options.force:
            return TrialStates()
        try:
            experiment = self._tracker.experiment(self._launched.study)  # may have changed
            return load_states(trials, self._ledger, self._tracker, experiment, sweep=self._name)
        except TrackingError:  # MLflow is away: the sweep goes on without it
            return load_states(trials, self._ledger, sweep=self._name)

    def _announce(self, planned: Plan) -> None:
        """Remove checkpoints that are no longer needed, and show what will be trained."""
        self._terminal.progress.plan(planned, self._sweep.reused)
        self._checkpoints.remove_ended(planned.finished | planned.failed)
        if (text := announcement(planned)) != self._starting.announced:
            self._terminal.say(text)
        if self._launched.record.weights:
            self._say_missing_weights(planned)
        if orphaned := self._checkpoints.orphaned(planned.hashes):
            count = len(orphaned)
            self._terminal.say(
                f"{count} of them start anew: their checkpoints were written in other packs."
            )

    def _say_missing_weights(self, planned: Plan) -> None:
        """Print which finished trials have no weights, since the user asked for weights."""
        kept = self._ledger.with_weights()
        if missing_weights(planned, kept):  # another machine may have recorded them
            elsewhere = self._tracker.presence.with_weights(self._experiment)
            kept |= {ResultKey(config_hash) for config_hash in elsewhere}
        for line in missing_weights(planned, kept):
            self._terminal.say(line)

    def _early(self) -> Early | None:
        """Return the early-stopping config, and the losses of ended trials at its rungs."""
        config = self._launched.early_stopping
        if not isinstance(config, AshaConfig):
            return None
        losses = {}
        for trial in self._sweep.trials:
            columns = self._ledger.trajectory(trial.config_hash, self._name)
            if columns:
                steps = trial.plain["train"]["steps"]
                losses[trial.config_hash] = rung_losses(config, columns, steps)
        return config, losses

    def _forget(self, planned: Plan) -> None:
        """Take what is stored of trials that will be trained again out of the record.

        With --force that is every trial that will be trained: its results are set aside until
        it has a new one (see `_bring_back`). Otherwise it is the trials that have a result which
        does not count any more (see `Result.is_final`): it is deleted, since none of its networks
        was trained. If it came back, the next launch would discard the checkpoint of the network
        that is drawn now.

        Raises:
            TrackingError: MLflow does not answer; nothing was deleted but what is in its trash.
        """
        hashes = [trial.config_hash for pack in planned.packs for trial in pack]
        if not self._options.force:
            hashes = list(self._ledger.results(hashes))
        if not hashes:
            return
        # MLflow first: if it does not answer, the ledger still has the results.
        self._tracker.discard(self._tracker.experiment(self._launched.study), hashes)
        if self._options.force:
            self._ledger.set_aside(hashes)
        else:
            self._ledger.forget(hashes)
            weights.delete_weights(self._weights, hashes)
        self._checkpoints.forget(hashes)

    def _bring_back(self) -> None:
        """Put back the results that --force has set aside and that no new ones have replaced.

        So a trial that failed this time has its earlier result again: the table of this launch
        shows the failure, `sweeps status` and the report show the result.
        """
        bring_back(self._ledger, self._terminal.say)

    def _spec(self) -> dict[str, Any]:
        """Return the part of the sweep's spec that does not change from round to round."""
        adaptive = self._launched.search.adaptive
        return {
            "command": self._options.command,
            "sources": self._options.sources,
            "figure": self._launched.figure,
            "launch": launch_to_plain(self._launched),
            "started": now(),
            "cells": [asdict(cell) for cell in self._sweep.cells] if adaptive else [],
        }

    def _train_and_close(
        self, entry: SweepEntry, planned: Plan, train: Train
    ) -> tuple[Plan, list[TrialOutcome], PendingItems]:
        """Train, and close the sweep's page whatever happens.

        Returns:
            The last plan, the outcome of each trial, and what MLflow has not taken.
        """
        status, page = "KILLED", (entry.study, entry.sweep)
        with contextlib.ExitStack() as sending:
            try:
                if planned.packs:
                    self._say_where_to_watch(entry)
                say = self._terminal.on_mlflow_state
                worker = OutboxWorker(self._tracker, self._ledger.path, page, say)
                with worker as outbox, self._tracker.pages.leased(entry.run_id):
                    try:
                        planned = self._rounds(entry, planned, train, outbox)
                    finally:
                        sending.enter_context(self._terminal.waiting("sending to MLflow"))
                self._checkpoints.remove_ended(self._sweep.states.ended)
                outcomes = self._outcomes()
                status = final_status(outcomes)
                if is_stale(self._folder, outcomes):  # another sweep may have trained its trials
                    self._ledger.set_published(self._tracker.name, *page, done=False)
            finally:
                self._bring_back()
                self._ledger.end_sweep(self._tracker.name, *page, status)
                lease = self._tracker.pages.leased(entry.run_id)
                synced = sync_study(self._tracker, self._ledger, [entry.study], lease)
                with contextlib.suppress(TrackingError):  # MLflow is away: the next launch does it
                    experiment, run = self._ledger.page(self._tracker.name, *page)
                    notes = InterruptionNotes(self._ledger, self._tracker.name)
                    self._tracker.close_running(experiment, notes, run)
        waits = synced.pending.get(entry.study, PendingItems())
        self._terminal.on_mlflow_state(waits.why)
        return planned, outcomes, waits

    def _rounds(self, entry: SweepEntry, planned: Plan, train: Train, outbox: OutboxWorker) -> Plan:
        """Train round after round until the search asks for no more; return the last plan."""
        handler = MessageHandler(
            entry,
            self._ledger,
            outbox,
            self._terminal,
            self._view,
            self._requests,
            self._weights,
            self._launched.tracking.live_seconds,
        )
        while planned.packs:
            trials = {trial.config_hash: trial for trial in planned.trials}
            ended = CheckpointCleaner(self._checkpoints, planned.hashes)
            handler.handle_all(train(planned.packs), trials, ended)
            states = load_states(planned.trials, self._ledger, sweep=self._name)
            self._sweep.record_results(planned, states)
            planned = self._sweep.next_round()
            self._terminal.progress.plan(planned, self._sweep.reused)
            # Also the trials of rounds that had their results already, as the last ones may have.
            current = replace(entry, spec=entry.spec | self._sweep.spec())
            update_sweep(self._tracker, self._ledger, current, planned)
            if planned.packs:
                self._forget(planned)
                search_findings = summarize(self._launched.search, self._outcomes())
                self._terminal.say(next_round(planned, search_findings))
        return planned

    def _outcomes(self) -> list[TrialOutcome]:
        """Return the outcome of each trial so far."""
        return outcomes_of(self._sweep.trials, self._sweep.reused, self._sweep.states)


def _workers_text(cluster: ClusterConfig) -> str:
    """Return the text to show while the workers start."""
    texts = {"local": "starting Ray", "ray": f"joining Ray at {cluster.address}"}
    return texts.get(cluster.name, "loading the engine")
