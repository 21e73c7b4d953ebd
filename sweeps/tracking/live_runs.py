"""Runs of trials that train: their points arrive while they train."""

import time
from dataclasses import dataclass
from typing import Any

from sweeps import __version__
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.step_metrics import Live
from sweeps.tracking.artifacts import STOPPED_BY
from sweeps.tracking.inputs import log_inputs
from sweeps.tracking.lease import UNTIL
from sweeps.tracking.runs import (
    RunRef,
    SweepPage,
    delete_tag,
    drop_duplicates,
    log,
    of_hash,
    run_ref,
    search,
)
from sweeps.tracking.trial_runs import TrialRuns

TRAINING = "It is training. Its result is written here when it has ended."


@dataclass(frozen=True)
class Ending:
    """End of a trial without a result.

    Attributes:
        config_hash: the trial.
        status: final status of its run, FAILED or KILLED.
        reason: why it ended.
        by: the person who stopped it; "" if nobody did.
    """

    config_hash: str
    status: str
    reason: str
    by: str = ""


class LiveRuns:
    """Begins and updates the runs of trials that train; `TrialRuns` finishes them."""

    def __init__(self, client: Any, runs: TrialRuns, *, exclusive: bool) -> None:
        """Write by this client.

        Args:
            client: MLflow's client.
            runs: finishes the runs.
            exclusive: whether only this process writes to the store.
        """
        self._client, self._runs, self._exclusive = client, runs, exclusive
        # (started, run) by config hash; no run if another driver trains or has finished it.
        self._shown: dict[str, tuple[int, RunRef | None]] = {}

    def show(self, page: SweepPage, trial: PlannedTrial, live: Live) -> None:
        """Send points of a trial; its run is begun if this training has none."""
        started, run = self._shown.get(live.config_hash, (0, None))
        if started != live.started:
            run = self._begin(page, trial, live)
            self._shown[live.config_hash] = (live.started, run)
        if run is not None:
            log(self._client, run.run_id, live.points)
            self._runs.remember(page.experiment, live.config_hash, run)

    def close(self, ending: Ending) -> None:
        """Close the run of a trial that was shown and has no result."""
        _, run = self._shown.pop(ending.config_hash, (0, None))
        if run is not None:
            tags = {"sweeps.reason": ending.reason, "mlflow.note.content": ending.reason}
            tags |= {STOPPED_BY: ending.by} if ending.by else {}
            log(self._client, run.run_id, [], tags=tags)
            self._client.set_terminated(run.run_id, ending.status)

    def _begin(self, page: SweepPage, trial: PlannedTrial, live: Live) -> RunRef | None:
        """Return the run of this training: one that was begun before, or a new one.

        Runs of earlier trainings are deleted, since their points have other times.
        """
        runs = list(search(self._client, page.experiment, of_hash(live.config_hash)))
        if any(run.info.status == "FINISHED" for run in runs):
            return None
        ours = None
        for run in runs:
            if ours is None and run.info.start_time == live.started:
                ours = run_ref(run)
                for tag in ("sweeps.reason", STOPPED_BY):  # of the training before
                    delete_tag(self._client, run, tag)
            elif self._is_trained_elsewhere(run, page):
                return None
            else:
                self._client.delete_run(run.info.run_id)
        if ours is None:
            ours = self._runs.create(page.experiment, live.started, _tags(page, trial, live))
            log(self._client, ours.run_id, [], trial.plain)
            data = {ours.run_id: trial.plain["data"]}
            log_inputs(self._client, page.experiment, data, exclusive=self._exclusive)
        else:
            self._client.update_run(ours.run_id, status="RUNNING")
            log(self._client, ours.run_id, [], tags=_tags(page, trial, live))
        if not self._exclusive:
            drop_duplicates(self._client, page.experiment, of_hash(live.config_hash), ours.run_id)
        return ours

    def _is_trained_elsewhere(self, run: Any, page: SweepPage) -> bool:
        """Return whether another driver, which is alive, trains the trial of this run."""
        parent = run.data.tags.get("mlflow.parentRunId", page.run)
        if self._exclusive or run.info.status != "RUNNING" or parent == page.run:
            return False
        until = self._client.get_run(parent).data.tags.get(UNTIL, "0")
        return float(until) >= time.time()


def _tags(page: SweepPage, trial: PlannedTrial, live: Live) -> dict[str, str]:
    return {
        "mlflow.parentRunId": page.run,
        "mlflow.runName": trial.name,
        "mlflow.note.content": TRAINING,
        "sweeps.kind": "trial",
        "sweeps.config_hash": trial.config_hash,
        "sweeps.cell_hash": trial.cell_hash,
        "sweeps.sweep": page.sweep,
        "sweeps.version": __version__,
        "sweeps.device": live.device,
    }
