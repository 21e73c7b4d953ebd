"""Writes sweeps to MLflow: sweeps as parent runs, trials as child runs. Only the driver does."""

import shlex
from collections.abc import Callable, Collection
from pathlib import Path

from sweeps.config.launch import TrackingConfig
from sweeps.errors import TrackingError
from sweeps.planning.plan import PlannedTrial
from sweeps.redaction import without_secrets
from sweeps.storage.ledger import Result
from sweeps.storage.record import Columns, Record
from sweeps.storage.step_metrics import Live
from sweeps.tracking import lease, store, stored
from sweeps.tracking.batch import ResultBatch
from sweeps.tracking.client import ErrorGuard, context_tags, open_client
from sweeps.tracking.live_runs import Ending, LiveRuns
from sweeps.tracking.presence import Presence
from sweeps.tracking.runs import TRIALS, SweepPage, search
from sweeps.tracking.server import silence, tracker_name
from sweeps.tracking.sweep_pages import SweepPages
from sweeps.tracking.trial_runs import TrialRuns


class Tracker:
    """One MLflow, with one run per config hash in each experiment.

    Attributes:
        local: whether it is the embedded store, which only this process writes to.
        uri: its address.
        name: its name in the ledger: the output root may move, and passwords stay out.
        pages: writes sweeps' pages.
        presence: finds what was sent.
    """

    def __init__(self, config: TrackingConfig, output: Path) -> None:
        """Open the store; the embedded one is created if necessary.

        Args:
            config: which MLflow; call `check_server` on it first.
            output: the output root.

        Raises:
            OutputRootError, DiskError: the place or the file of the embedded store is unusable.
            TrackingError: MLflow cannot be used.
        """
        self.local = config.name == "local"
        self._output = output
        self.uri = store.uri(output) if self.local else config.uri
        self.name = tracker_name(config)
        own = store.UI if self.local else self.name
        self._address = (without_secrets(config.public_url) or own).rstrip("/")
        silence()
        self._guard = guard = ErrorGuard(self.name)
        with guard("a question"):
            self._client = client = open_client(self.uri, output if self.local else None)
        self._trials = TrialRuns(client, context_tags(), exclusive=self.local)
        self._live = LiveRuns(client, self._trials, exclusive=self.local)
        self.presence = Presence(client, guard, exclusive=self.local)
        lease_seconds = None if self.local else config.lease
        self.pages = SweepPages(client, guard, self.presence, lease_seconds)

    def experiment(self, study: str) -> str:
        """Return the id of a study's experiment; it is created if it is new.

        Raises:
            TrackingError: it was deleted, or MLflow did not answer.
        """
        artifacts = (self._output / "mlflow" / "artifacts").resolve() / store.folder_name(study)
        with self._guard("an experiment"):
            experiment = self._client.get_experiment_by_name(study)
            if experiment is None:
                location = artifacts.as_uri() if self.local else None
                return str(self._client.create_experiment(study, artifact_location=location))
        if experiment.lifecycle_stage == "deleted":
            uri = shlex.quote(without_secrets(self.uri))
            raise TrackingError(
                f"study={study}: the MLflow experiment of that name is deleted; restore it, "
                f"`MLFLOW_TRACKING_URI={uri} mlflow experiments restore "
                f"--experiment-id {experiment.experiment_id}`, or record elsewhere: study=OTHER"
            )
        return str(experiment.experiment_id)

    def find_experiment(self, study: str) -> str:
        """Return the id of a study's experiment; "" if there is none.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._guard("a question"):
            experiment = self._client.get_experiment_by_name(study)
        exists = experiment is not None and experiment.lifecycle_stage != "deleted"
        return str(experiment.experiment_id) if exists else ""

    def has_page(self, study: str, experiment: str, run: str, sweep: str) -> bool:
        """Return whether a study's experiment has this id and holds this run as a sweep's page.

        For the embedded store, which only this process uses, it is not checked.

        Args:
            study: name of the study.
            experiment: id of the experiment.
            run: id of the page's run.
            sweep: the sweep's name.

        Raises:
            TrackingError: MLflow did not answer, or the experiment was deleted.
        """
        if self.local:
            return True
        if self.experiment(study) != experiment:
            return False
        return self.presence.is_page(experiment, run, sweep)

    def links(self, experiment: str, sweep: str, run: str) -> dict[str, str]:
        """Return the addresses of a sweep's charts (`trials`), table and own page (`sweep`).

        Args:
            experiment: id of the experiment.
            sweep: the sweep's name.
            run: id of the page's run.
        """
        view = "workflowType=machine_learning"
        base = f"{self._address}/#/experiments/{experiment}/runs"
        table = f"{base}?{view}&viewStateShareKey={sweep}"
        return {
            "trials": f"{table}&compareRunsMode=CHART",
            "table": table,
            "sweep": f"{base}/{run}?{view}",
        }

    def finished_results(self, experiment: str, hashes: Collection[str]) -> dict[str, Result]:
        """Return the results of these trials that have a finished run, by config hash.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._guard("a question"):
            return self._trials.finished_results(experiment, hashes)

    def records_like(self, prefix: str) -> list[Record]:
        """Return the finished trials, of any experiment, whose hash begins with a prefix.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._guard("a request for a record"):
            return stored.records_like(self._client, prefix)

    def sweeps_like(self, prefix: str) -> dict[str, dict[str, str]]:
        """Return the finished trials of the sweeps whose name begins with a prefix.

        Returns:
            By the sweep's name: the trials' names by config hash.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._guard("a question"):
            return stored.sweeps_like(self._client, self._trials, prefix)

    def record_reproduction(self, record: Record, kind: str, text: str, deviation: float) -> str:
        """Write how a trial was reproduced, as a run of its own; return the run's id.

        Args:
            record: the trial.
            kind: identical, equal or different.
            text: the run's description.
            deviation: the largest relative deviation.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._guard("a comparison"):
            tags = context_tags()
            return stored.write_comparison(self._client, tags, record, kind, text, deviation)

    def discard(self, experiment: str, hashes: Collection[str]) -> None:
        """Delete the runs of these trials; MLflow keeps them in its trash.

        Raises:
            TrackingError: MLflow did not answer; some of the runs may be deleted.
        """
        with self._guard("the deletion of runs"):
            self._trials.discard(experiment, hashes)

    def trajectory(self, experiment: str, config_hash: str) -> Columns | None:
        """Return the trajectory of a finished trial from its artifacts; None if there is none.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._guard("a request for a trajectory"):
            return self._trials.trajectory(experiment, config_hash)

    def batch(self, page: SweepPage) -> ResultBatch:
        """Return a context manager that sends finished trials of a sweep.

        Args:
            page: the page of the sweep.
        """
        return ResultBatch(self._client, self._guard, self._trials, page, exclusive=self.local)

    def show(self, page: SweepPage, trial: PlannedTrial, live: Live) -> None:
        """Send new points of a trial that trains.

        Args:
            page: the page of its sweep.
            trial: the trial.
            live: the points.

        Raises:
            TrackingError: MLflow did not take them.
        """
        with self._guard("points of a trial"):
            self._live.show(page, trial, live)

    def close(self, ending: Ending) -> None:
        """Close the run of a trial that was shown while it trained and has no result.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._guard("the closing of a run"):
            self._live.close(ending)

    def close_running(
        self, experiment: str, describe: Callable[[str, str], str], page: str = ""
    ) -> None:
        """Close the RUNNING runs of trials that no longer train.

        Args:
            experiment: the experiment's id.
            describe: returns a run's new description, by the sweep's name and the config hash.
            page: run of a sweep's page: only its trials; "": those of all sweeps.

        Raises:
            TrackingError: MLflow did not take it.
        """
        query = f"{TRIALS} and attributes.status = 'RUNNING'"
        query += f" and tags.`mlflow.parentRunId` = '{page}'" if page else ""
        with self._guard("the closing of a run"):
            for run in list(search(self._client, experiment, query)):
                tags = run.data.tags
                text = describe(tags.get("sweeps.sweep", ""), tags["sweeps.config_hash"])
                self._client.set_tag(run.info.run_id, "mlflow.note.content", text)
                self._client.set_terminated(run.info.run_id, "KILLED")

    def close_expired_runs(self, experiment: str) -> list[str]:
        """Close the runs that dead drivers left in an experiment; return a sentence on each.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._guard("the closing of a run"):
            return lease.close_expired_runs(self._client, experiment)
