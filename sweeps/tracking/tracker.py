"""Sweeps as parent runs and trials as child runs of MLflow. One writer, the driver."""

import contextlib
import functools
import json
import shlex
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import __version__
from sweeps.config.request import TrackingConfig
from sweeps.config.yaml_text import to_yaml
from sweeps.errors import TrackingError
from sweeps.planning.plan import PlannedTrial
from sweeps.redaction import without_secrets
from sweeps.storage.ledger import Result
from sweeps.storage.record import Columns, Record, now
from sweeps.storage.step_metrics import Point
from sweeps.tracking import artifacts, lease, store, stored
from sweeps.tracking.inputs import Inputs
from sweeps.tracking.live_runs import Ending, LiveRuns, SweepPage
from sweeps.tracking.presence import BEGUN, Presence
from sweeps.tracking.server import silence
from sweeps.tracking.trial_runs import TRIALS, TrialRuns, drop_duplicates, log, search

if TYPE_CHECKING:
    from sweeps.execution.events import Live


class Tracker:
    """MLflow as the sweeps write it: one run per config hash in an experiment."""

    def __init__(self, config: TrackingConfig, output: Path) -> None:
        """Open the store, creating the embedded one; `check_server` comes first.

        Raises:
            OutputRootError, DiskError: the embedded store cannot be used where it is to lie.
            TrackingError: MLflow cannot be used.
        """
        self.local = config.name == "local"
        self._output = output
        self.uri = store.uri(output) if self.local else config.uri
        # What the ledger calls this store: the root may be moved, a password stays out.
        self.name = "local" if self.local else without_secrets(self.uri)
        self._lease = config.lease
        self.base = store.UI if self.local else self.name.rstrip("/")
        silence()
        with self._or_tracking_error("a question"):
            self._client = self._embedded() if self.local else self._on_server()
        self._trials = TrialRuns(self._client, _context(), exclusive=self.local)
        self._live = LiveRuns(self._client, self._trials, exclusive=self.local)
        self.presence = Presence(self._client, self._or_tracking_error, exclusive=self.local)
        self.inputs = Inputs(self._client, self._or_tracking_error, exclusive=self.local)
        # Pages that were begun anew since: by the old run the new one.
        self._replaced: dict[str, str] = {}

    def _on_server(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def _embedded(self) -> Any:
        """The client of the embedded store, which is made where there is none."""
        from mlflow import MlflowClient

        with store.prepared(self._output) as put:
            client = MlflowClient(self.uri)
            if put:  # this process may still hold the file that was there before
                client._tracking_client.store.engine.dispose()
            client.search_experiments(max_results=1)
        return client

    def experiment(self, study: str) -> str:
        """The id of the study's experiment, created when new.

        Raises:
            TrackingError: it was deleted, or MLflow did not answer.
        """
        place = (self._output / "mlflow" / "artifacts").resolve() / store.folder_name(study)
        with self._or_tracking_error("an experiment"):
            found = self._client.get_experiment_by_name(study)
            if found is None:
                location = place.as_uri() if self.local else None
                return str(self._client.create_experiment(study, artifact_location=location))
        if found.lifecycle_stage == "deleted":
            uri = shlex.quote(without_secrets(self.uri))
            raise TrackingError(
                f"study={study}: the MLflow experiment of that name is deleted; restore it, "
                f"`MLFLOW_TRACKING_URI={uri} mlflow experiments restore "
                f"--experiment-id {found.experiment_id}`, or record elsewhere: study=OTHER"
            )
        return str(found.experiment_id)

    def find_experiment(self, study: str) -> str:
        """The id of the study's experiment; empty when there is none.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._or_tracking_error("a question"):
            found = self._client.get_experiment_by_name(study)
        alive = found is not None and found.lifecycle_stage != "deleted"
        return str(found.experiment_id) if alive else ""

    def links(self, experiment: str, sweep: str, run: str) -> dict[str, str]:
        """Addresses of a sweep's pages: charts of its trials, their table, and its own page."""
        view = "workflowType=machine_learning"
        base = f"{self.base}/#/experiments/{experiment}/runs"
        table = f"{base}?{view}&viewStateShareKey={sweep}"
        return {
            "trials": f"{table}&compareRunsMode=CHART",
            "table": table,
            "sweep": f"{base}/{run}?{view}",
        }

    def finished_results(self, experiment: str, hashes: Collection[str]) -> dict[str, Result]:
        """Those of these trials that this MLflow holds a finished run of.

        Raises:
            TrackingError: it did not answer.
        """
        with self._or_tracking_error("a question"):
            return self._trials.finished_results(experiment, hashes)

    def records_like(self, prefix: str) -> list[Record]:
        """The finished trials of any experiment whose hash begins so, from their artifacts."""
        query = (
            f"tags.`sweeps.config_hash` LIKE '{prefix}%' and tags.`sweeps.kind` = 'trial' "
            "and attributes.status = 'FINISHED'"
        )
        with self._or_tracking_error("a request for a record"):
            found = {
                run.data.tags["sweeps.config_hash"]: run
                for run in stored.search_everywhere(self._client, query)
            }
            return [stored.record_of(self._client, run) for run in found.values()]

    def sweeps_like(self, prefix: str) -> dict[str, dict[str, str]]:
        """The sweeps of any experiment whose name begins so: names of finished trials by hash."""
        found: dict[str, dict[str, str]] = {}
        query = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` LIKE '{prefix}%'"
        with self._or_tracking_error("a question"):
            for run in stored.search_everywhere(self._client, query):
                names = stored.trial_names(self._client, run)
                finished = self._trials.finished_results(run.info.experiment_id, set(names))
                known = {digest: names[digest] for digest in names if digest in finished}
                found.setdefault(run.data.tags["sweeps.sweep"], {}).update(known)
        return found

    def record_reproduction(self, record: Record, kind: str, text: str, deviation: float) -> str:
        """A run of its own that says how a trial was reproduced; its id.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a verdict"):
            return stored.write_comparison(self._client, _context(), record, kind, text, deviation)

    def discard(self, experiment: str, hashes: Collection[str]) -> None:
        """Delete the runs of these trials (MLflow keeps them in its bin)."""
        self._trials.discard(experiment, hashes)

    def begin_sweep(
        self, experiment: str, sweep: str, spec: dict[str, Any], view: dict[str, Any]
    ) -> str:
        """The sweep's parent run, RUNNING; created when new.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a sweep's page"):
            return self._begin(experiment, sweep, spec, view)

    def _begin(
        self, experiment: str, sweep: str, spec: dict[str, Any], view: dict[str, Any]
    ) -> str:
        query = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` = '{sweep}'"
        found = next(search(self._client, experiment, query), None)
        if found is not None:
            run = str(found.info.run_id)
            if not self.local:
                lease.renew(self._client, run, self._lease)
            self._client.update_run(run, status="RUNNING")
            self._write_view(experiment, sweep, view)  # an earlier version's may be there
            self._trials.untag(found, artifacts.STOPPED_BY)
            return run
        tags = {"sweeps.kind": "sweep", "sweeps.sweep": sweep, "mlflow.runName": f"sweep {sweep}"}
        tags |= _context() | ({} if self.local else lease.tags(self._lease))
        run = str(self._client.create_run(experiment, tags=tags).info.run_id)
        drop_duplicates(self._client, experiment, query, run)
        try:
            self._client.log_text(run, to_yaml(spec, ascii_only=False), BEGUN)
        except Exception:  # where artifacts go may need what is not installed: not left RUNNING
            self._client.delete_run(run)
            raise
        self._write_view(experiment, sweep, view)
        return run

    def _write_view(self, experiment: str, sweep: str, view: dict[str, Any]) -> None:
        """Write what the link to a sweep's trials opens."""
        text = json.dumps(view, separators=(",", ":"))
        self._client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{sweep}", text)

    def write_spec(self, run: str, spec: dict[str, Any]) -> None:
        """Write the spec of a sweep into its page again.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a sweep's page"):
            self._client.log_text(run, to_yaml(spec, ascii_only=False), BEGUN)

    def has_page(self, study: str, experiment: str, run: str, sweep: str) -> bool:
        """Whether the study's experiment has this id and holds this run as the sweep's page.

        The embedded store is used by this process alone, so this is taken for granted.

        Raises:
            TrackingError: MLflow did not answer, or the experiment was deleted.
        """
        if self.local:
            return True
        return self.experiment(study) == experiment and self.presence.is_page(
            experiment, run, sweep
        )

    def replaced_page(self, experiment: str, sweep: str, old: str, new: str) -> None:
        """From now on the sweep's page is another run: its trials and its lease move there.

        Raises:
            TrackingError: MLflow did not take it.
        """
        self._replaced[old] = new
        self.presence.reparent_trials(experiment, sweep, new)

    def trajectory(self, experiment: str, config_hash: str) -> Columns | None:
        """Every step of a finished trial, from its artifacts; None where there is none.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._or_tracking_error("a request for a trajectory"):
            return self._trials.trajectory(experiment, config_hash)

    def publish_results(
        self,
        experiment: str,
        parent: str,
        sweep: str,
        name: str,
        record: Record,
        figure: bytes = b"",
        weights: Path | None = None,
    ) -> str:
        """Send a finished trial, with its figure or one drawn now; again, it changes nothing.

        Its weights are sent too, where a file of them is given.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a result"):
            return self._trials.send(experiment, parent, sweep, name, record, figure, weights)

    def show(self, page: SweepPage, trial: PlannedTrial, live: "Live") -> None:
        """Send points of a trial that is still training; its run is RUNNING.

        Raises:
            TrackingError: MLflow did not take them.
        """
        with self._or_tracking_error("points of a trial"):
            self._live.show(page, trial, live)

    def close(self, ending: Ending) -> None:
        """Close the run of a trial that was shown and has no result.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("the closing of a run"):
            self._live.close(ending)

    def close_running(self, experiment: str, page: str = "") -> None:
        """Close the runs of trials that nobody trains any more.

        Args:
            experiment: where they are.
            page: those of one sweep's page; of all sweeps where it is empty.

        Raises:
            TrackingError: MLflow did not take it.
        """
        query = f"{TRIALS} and attributes.status = 'RUNNING'"
        query += f" and tags.`mlflow.parentRunId` = '{page}'" if page else ""
        with self._or_tracking_error("the closing of a run"):
            for run in list(search(self._client, experiment, query)):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def describe(self, run: str, text: str) -> None:
        """Write a sweep's description while it runs.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a sweep's page"):
            self._client.set_tag(run, "mlflow.note.content", text)

    def end_sweep(
        self,
        run: str,
        status: str,
        description: str,
        metrics: list[Point],
        folder: Path,
        files: Collection[str],
        stopped_by: str = "",
    ) -> None:
        """Close the parent run with what the sweep found, and who stopped it if a person did.

        Raises:
            TrackingError: MLflow did not take it.
        """
        at = now()
        points = [replace(point, at=at) for point in metrics]
        tags = {"mlflow.note.content": description, "sweeps.version": __version__}
        tags |= {artifacts.STOPPED_BY: stopped_by} if stopped_by else {}
        with self._or_tracking_error("a sweep's page"):
            log(self._client, run, points, tags=tags)
            for name in files:
                self._client.log_artifact(run, str(folder / name))
            self._client.set_terminated(run, status)
            if not self.local:
                lease.clear_closed_tag(
                    self._client, run
                )  # this is its ending, whoever closed it meanwhile

    def leased(self, run: str) -> contextlib.AbstractContextManager[object]:
        """While the block lasts, whoever works in that experiment is told that this driver lives.

        The embedded store needs no lease: nobody else works there, and the output root's
        lock says whether anyone does.
        """
        if self.local:
            return contextlib.nullcontext()
        return lease.Lease(functools.partial(self.renew, run), self._lease)

    def renew(self, run: str) -> None:
        """Say on a sweep's run that its driver, this process, is alive.

        Raises:
            TrackingError: MLflow did not take it.
        """
        while run in self._replaced:
            run = self._replaced[run]
        with self._or_tracking_error("a lease"):
            lease.renew(self._client, run, self._lease)

    def close_expired_runs(self, experiment: str) -> list[str]:
        """Close the runs that dead drivers left in an experiment; a sentence on each.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("the closing of a run"):
            return lease.close_expired_runs(self._client, experiment)

    @contextlib.contextmanager
    def _or_tracking_error(self, what: str) -> Iterator[None]:
        """Whatever MLflow's client raises of a store that is away, as one line."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, ImportError, OSError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if isinstance(error, ImportError):
                why = f"its artifacts need a package that is not installed here: {why}"
            raise TrackingError(
                f"MLflow at {self.name} did not take {what}: {without_secrets(why)}"
            ) from error


def _context() -> dict[str, str]:
    """The user, source and git tags MLflow's fluent API would have set."""
    from mlflow.tracking.context.registry import resolve_tags

    return {str(key): without_secrets(str(value)) for key, value in resolve_tags().items()}
