"""Sweeps as parent runs and trials as child runs of MLflow. One writer, the driver."""

import contextlib
import functools
import json
import re
import shlex
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sweeps import __version__
from sweeps.config import TrackingConfig
from sweeps.errors import TrackingError
from sweeps.ledger import Result
from sweeps.plain import from_yaml
from sweeps.record import Columns, Record, columns_of, now
from sweeps.redaction import without_secrets
from sweeps.tracking import contents, lease, store
from sweeps.tracking.pages import Point
from sweeps.tracking.presence import BEGUN, Presence
from sweeps.tracking.server import hush
from sweeps.tracking.trial_runs import (
    TRIALS,
    TrialRuns,
    keep_only,
    log_metrics,
    search,
)

HASH = re.compile("[0-9a-f]{64}")


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
        hush()
        with self._or_tracking_error("a question"):
            self._client = self._embedded() if self.local else self._on_server()
        self._trials = TrialRuns(self._client, _context(), alone=self.local)
        self.presence = Presence(self._client, self._or_tracking_error, alone=self.local)
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

    def found(self, study: str) -> str:
        """The id of the study's experiment; empty when there is none.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._or_tracking_error("a question"):
            found = self._client.get_experiment_by_name(study)
        alive = found is not None and found.lifecycle_stage != "deleted"
        return str(found.experiment_id) if alive else ""

    def links(self, experiment: str, sweep: str, run: str) -> dict[str, str]:
        """Addresses of a sweep's table of trials and of its page, in the model-training view."""
        view = "workflowType=machine_learning"
        base = f"{self.base}/#/experiments/{experiment}/runs"
        return {
            "trials": f"{base}?{view}&viewStateShareKey={sweep}",
            "sweep": f"{base}/{run}?{view}",
        }

    def finished(self, experiment: str, hashes: Collection[str]) -> dict[str, Result]:
        """Those of these trials that this MLflow holds a finished run of.

        Raises:
            TrackingError: it did not answer.
        """
        with self._or_tracking_error("a question"):
            return self._trials.finished(experiment, hashes)

    def records_like(self, prefix: str) -> list[Record]:
        """The finished trials of any experiment whose hash begins so, from their artifacts."""
        query = (
            f"tags.`sweeps.config_hash` LIKE '{prefix}%' and tags.`sweeps.kind` = 'trial' "
            "and attributes.status = 'FINISHED'"
        )
        with self._or_tracking_error("a request for a record"):
            found = {run.data.tags["sweeps.config_hash"]: run for run in self._anywhere(query)}
            return [self._record(run) for run in found.values()]

    def sweeps_like(self, prefix: str) -> dict[str, dict[str, str]]:
        """The sweeps of any experiment whose name begins so: names of finished trials by hash."""
        found: dict[str, dict[str, str]] = {}
        query = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` LIKE '{prefix}%'"
        with self._or_tracking_error("a question"):
            for run in self._anywhere(query):
                names = self._names(run)
                finished = self._trials.finished(run.info.experiment_id, set(names))
                known = {digest: names[digest] for digest in names if digest in finished}
                found.setdefault(run.data.tags["sweeps.sweep"], {}).update(known)
        return found

    def _anywhere(self, query: str) -> Iterator[Any]:
        """Runs of every experiment."""
        for experiment in self._client.search_experiments():
            yield from search(self._client, experiment.experiment_id, query)

    def _names(self, run: Any) -> dict[str, str]:
        """The trials of a sweep's run, as it began and as its search went on; names by hash."""
        with tempfile.TemporaryDirectory() as folder:
            page = self._client.download_artifacts(run.info.run_id, "sweep.yaml", folder)
            begun: dict[str, str] = from_yaml(Path(page).read_text())["trials"]
        names = dict(_by_hash(*item) for item in begun.items())
        own = f"{TRIALS} and tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        for trial in search(self._client, run.info.experiment_id, own):
            tags = trial.data.tags
            names.setdefault(tags["sweeps.config_hash"], tags["mlflow.runName"])
        return names

    def _record(self, run: Any) -> Record:
        """The record a trial's run was made from."""
        with tempfile.TemporaryDirectory() as folder:
            for name in contents.FILES:
                self._client.download_artifacts(run.info.run_id, name, folder)
            config = from_yaml((Path(folder) / contents.CONFIG).read_text())
            trajectory = columns_of((Path(folder) / contents.TRAJECTORY).read_bytes())
            environment = json.loads((Path(folder) / contents.ENVIRONMENT).read_text())
        tags = run.data.tags
        return Record(
            config_hash=tags["sweeps.config_hash"],
            cell_hash=tags["sweeps.cell_hash"],
            config=config,
            status=tags["sweeps.status"],
            reason=tags["sweeps.reason"],
            summary={k: v for k, v in run.data.metrics.items() if k not in contents.STEPPED},
            notes={},
            device=tags["sweeps.device"],
            started=run.info.start_time,
            finished=run.info.end_time,
            environment=environment,
            trajectory=trajectory,
        )

    def reproduced(self, record: Record, kind: str, text: str, deviation: float) -> str:
        """A run of its own that says how a trial was reproduced; its id.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a verdict"):
            query = f"{TRIALS} and tags.`sweeps.config_hash` = '{record.config_hash}'"
            found = next(self._anywhere(query), None)
            if found is None:
                return ""
            tags = {
                "sweeps.kind": "reproduction",
                "sweeps.reproduces": found.info.run_id,
                "sweeps.config_hash": record.config_hash,
                "sweeps.verdict": kind,
                "mlflow.runName": f"reproduction of {record.config_hash[:12]}: {kind}",
                "mlflow.note.content": text,
            }
            made = self._client.create_run(found.info.experiment_id, tags=tags | _context())
            run = str(made.info.run_id)
            if deviation < float("inf"):
                self._client.log_metric(run, "reproduce/deviation", deviation)
            self._client.set_terminated(run, "FINISHED")
            return run

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
            self._trials.untag(found, contents.STOPPED_BY)
            return run
        tags = {"sweeps.kind": "sweep", "sweeps.sweep": sweep, "mlflow.runName": f"sweep {sweep}"}
        tags |= _context() | ({} if self.local else lease.tags(self._lease))
        run = str(self._client.create_run(experiment, tags=tags).info.run_id)
        keep_only(self._client, experiment, query, run)
        try:
            self._client.log_dict(run, spec, BEGUN)
        except Exception:  # where artifacts go may need what is not installed: not left RUNNING
            self._client.delete_run(run)
            raise
        self._client.set_experiment_tag(
            experiment, f"mlflow.sharedViewState.{sweep}", json.dumps(view)
        )
        return run

    def write_spec(self, run: str, spec: dict[str, Any]) -> None:
        """Write the spec of a sweep into its page again.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a sweep's page"):
            self._client.log_dict(run, spec, BEGUN)

    def has_page(self, study: str, experiment: str, run: str, sweep: str) -> bool:
        """Whether the study's experiment has this id and holds this run as the sweep's page.

        The embedded store is this process's alone: there it is taken to be so.

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
        self.presence.adopt(experiment, sweep, new)

    def trajectory(self, experiment: str, config_hash: str) -> Columns | None:
        """Every step of a finished trial, from its artifacts; None where there is none.

        Raises:
            TrackingError: MLflow did not answer.
        """
        with self._or_tracking_error("a request for a trajectory"):
            return self._trials.trajectory(experiment, config_hash)

    def ship(
        self,
        experiment: str,
        parent: str,
        sweep: str,
        name: str,
        record: Record,
        figure: bytes = b"",
    ) -> str:
        """Send a finished trial, with its figure or one drawn now; again, it changes nothing.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("a result"):
            return self._trials.send(experiment, parent, sweep, name, record, figure)

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
        from mlflow.entities import Metric, RunTag

        at = now()
        texts = {"mlflow.note.content": description, "sweeps.version": __version__}
        texts |= {contents.STOPPED_BY: stopped_by} if stopped_by else {}
        with self._or_tracking_error("a sweep's page"):
            self._client.log_batch(run, tags=[RunTag(*text) for text in texts.items()])
            log_metrics(self._client, run, [Metric(p.key, p.value, at, p.step) for p in metrics])
            for name in files:
                self._client.log_artifact(run, str(folder / name))
            self._client.set_terminated(run, status)
            if not self.local:
                lease.reopened(self._client, run)  # this is its ending, whoever closed it meanwhile

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

    def reap(self, experiment: str) -> list[str]:
        """Close the runs that dead drivers left in an experiment; a sentence on each.

        Raises:
            TrackingError: MLflow did not take it.
        """
        with self._or_tracking_error("the closing of a run"):
            return lease.reap(self._client, experiment)

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


def _by_hash(key: str, value: str) -> tuple[str, str]:
    """A trial's hash and its name; pages of early versions hold the hash by the name."""
    return (key, value) if HASH.fullmatch(key) else (value, key)


def _context() -> dict[str, str]:
    """The user, source and git tags MLflow's fluent API would have set."""
    from mlflow.tracking.context.registry import resolve_tags

    return {str(key): without_secrets(str(value)) for key, value in resolve_tags().items()}
