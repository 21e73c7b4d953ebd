"""The door to MLflow: sweeps as parent runs, trials as child runs. One writer, the driver."""

import json
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from sweeps import __version__, plots
from sweeps.config import TrackingConfig, flattened, to_yaml
from sweeps.errors import TrackingError
from sweeps.record import Record, now

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A server that is away is noticed in seconds; the results wait in the ledger meanwhile.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

POINTS = 200  # of a step metric in one run
BATCH = 1000  # metrics MLflow takes at once
STEP_METRICS = {
    "loss": "train/loss",
    "residual": "train/residual",
    "grad_norm": "train/grad_norm",
    "lambda_min_gram": "spectrum/lambda_min_gram",
    "lambda_min_tangent": "spectrum/lambda_min_tangent",
    "norm_w": "spectrum/norm_w",
    "forward_steps": "solver/forward_steps",
    "adjoint_steps": "solver/adjoint_steps",
}
UI = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Point:
    """One metric value at one step."""

    key: str
    value: float
    step: int


class Tracker:
    """MLflow as the sweeps write it: one run per config hash in an experiment."""

    def __init__(self, config: TrackingConfig, output: Path) -> None:
        """Open the store, creating the embedded one; `check_server` comes first."""
        self.local = config.name == "local"
        self._output = output
        self.uri = store_uri(output) if self.local else config.uri
        # What the ledger calls this store: the root may be moved, a password stays out.
        self.name = "local" if self.local else _without_password(self.uri)
        self.base = UI if self.local else self.name.rstrip("/")
        _hush()
        from mlflow import MlflowClient

        if self.local:
            root = output / "mlflow"
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / "store.lock"):
                self._client = MlflowClient(self.uri)
                self._client.search_experiments(max_results=1)
                _relocate(output)
        else:
            self._client = MlflowClient(self.uri)

    def experiment(self, study: str) -> str:
        """The id of the study's experiment, created when new."""
        found = self._client.get_experiment_by_name(study)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                raise TrackingError(f"study={study}: the MLflow experiment of that name is deleted")
            return str(found.experiment_id)
        place = (self._output / "mlflow" / "artifacts").resolve() / urllib.parse.quote(study, "")
        return str(
            self._client.create_experiment(
                study, artifact_location=place.as_uri() if self.local else None
            )
        )

    def links(self, experiment: str, run: str) -> dict[str, str]:
        """Addresses of the experiment and of a run, in the model-training view."""
        view = "workflowType=machine_learning"
        base = f"{self.base}/#/experiments/{experiment}/runs"
        return {"experiment": f"{base}?{view}", "run": f"{base}/{run}?{view}"}

    def begin_sweep(self, experiment: str, sweep: str, name: str, spec: dict[str, Any]) -> str:
        """The sweep's parent run, RUNNING; created when new."""
        found = self._client.search_runs(
            [experiment], f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` = '{sweep}'"
        )
        if found:
            run = str(found[0].info.run_id)
            self._client.update_run(run, status="RUNNING")
            return run
        tags = {"sweeps.kind": "sweep", "sweeps.sweep": sweep, "mlflow.runName": name}
        run = str(self._client.create_run(experiment, tags=tags | _context()).info.run_id)
        self._client.log_dict(run, spec, "sweep.yaml")
        return run

    def ship(self, experiment: str, parent: str, sweep: str, name: str, record: Record) -> str:
        """Send a finished trial; sending it again changes nothing.

        Raises:
            TrackingError: MLflow did not take it.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._send(experiment, parent, sweep, name, record)
        except MlflowException as error:
            raise TrackingError(f"MLflow at {self.name} did not take a result: {error}") from error

    def _send(self, experiment: str, parent: str, sweep: str, name: str, record: Record) -> str:
        from mlflow.entities import Metric, Param

        query = (
            f"tags.`sweeps.config_hash` = '{record.config_hash}' and tags.`sweeps.kind` = 'trial'"
        )
        found = self._client.search_runs([experiment], query)
        if found:
            run = str(found[0].info.run_id)
            if found[0].info.status == "FINISHED":
                return run
        else:
            tags = {
                "mlflow.parentRunId": parent,
                "mlflow.runName": name,
                "sweeps.kind": "trial",
                "sweeps.config_hash": record.config_hash,
                "sweeps.cell_hash": record.cell_hash,
                "sweeps.sweep": sweep,
                "sweeps.status": record.status,
                "sweeps.reason": record.reason,
                "sweeps.version": __version__,
                "sweeps.device": record.device,
            } | {f"sweeps.note.{key.replace('/', '.')}": text for key, text in record.notes.items()}
            made = self._client.create_run(experiment, record.started, tags=tags | _context())
            run = str(made.info.run_id)
        points = [Point(key, value, 0) for key, value in record.summary.items()]
        points += _thinned(record.trajectory)
        metrics = [Metric(p.key, p.value, _time(record, p.step), p.step) for p in points]
        params = [Param(key, str(value)) for key, value in flattened(record.config).items()]
        self._client.log_batch(run, params=params)
        self._log_metrics(run, metrics)
        with tempfile.TemporaryDirectory() as folder:
            _artifacts(record, Path(folder))
            self._client.log_artifacts(run, folder)
        self._client.set_terminated(run, "FINISHED", record.finished)
        return run

    def end_sweep(
        self,
        run: str,
        status: str,
        description: str,
        metrics: list[Point],
        files: dict[str, str | bytes],
    ) -> None:
        """Close the parent run with what the sweep found."""
        from mlflow.entities import Metric, RunTag

        at = now()
        values = [Metric(p.key, p.value, at, p.step) for p in metrics]
        tags = [RunTag("mlflow.note.content", description), RunTag("sweeps.version", __version__)]
        self._client.log_batch(run, tags=tags)
        self._log_metrics(run, values)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                data = content if isinstance(content, bytes) else content.encode()
                (Path(folder) / name).write_bytes(data)
            self._client.log_artifacts(run, folder)
        self._client.set_terminated(run, status)

    def _log_metrics(self, run: str, metrics: list[Any]) -> None:
        for i in range(0, len(metrics), BATCH):
            self._client.log_batch(run, metrics=metrics[i : i + BATCH])


def check_server(config: TrackingConfig) -> None:
    """Refuse a server that is not named or does not answer; needs no MLflow.

    Raises:
        TrackingError: saying what to do instead.
    """
    if config.name == "local":
        return
    if not config.uri:
        raise TrackingError(
            "tracking=server needs a server: set tracking.uri=http://HOST:PORT "
            "or MLFLOW_TRACKING_URI"
        )
    _answers(config.uri)


def store_uri(output: Path) -> str:
    """The embedded store's address."""
    return f"sqlite:///{(output / 'mlflow' / 'mlflow.db').resolve()}"


def serve(output: Path, port: int) -> int:
    """Serve the MLflow UI on the embedded store, on loopback, until interrupted."""
    root = output / "mlflow"
    if not (root / "mlflow.db").exists():
        raise TrackingError(f"there is no record under {output}: launch one with `sweeps run`")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise TrackingError(f"port {port} is in use: choose another with --port")
    with FileLock(root / "store.lock"):
        _relocate(output)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", store_uri(output)]
    command += ["--artifacts-destination", (root / "artifacts").resolve().as_uri()]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=os.environ | quiet) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait()
            return 0


def _answers(uri: str) -> None:
    """Raise unless a server answers at this address within seconds."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TrackingError(f"tracking.uri={uri} is no http(s) address")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except OSError as error:
        raise TrackingError(
            f"tracking.uri={_without_password(uri)} does not answer ({error}): "
            "start the server, or use tracking=local"
        ) from error


def _without_password(uri: str) -> str:
    parts = urllib.parse.urlsplit(uri)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _hush() -> None:
    """MLflow's and Alembic's talk is of no use to a sweep's user."""
    for name in ("mlflow", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _relocate(output: Path) -> None:
    """Point artifact addresses at the root as it lies now, in case it was moved."""
    root = output / "mlflow"
    here = (root / "artifacts").resolve().as_uri()
    with sqlite3.connect(root / "mlflow.db") as db:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            db.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, "  # noqa: S608
                f"instr({column}, '/mlflow/artifacts/') + length('/mlflow/artifacts')) "
                f"WHERE instr({column}, '/mlflow/artifacts/') > 0 AND {column} NOT LIKE ? || '/%'",
                (here, here),
            )
    db.close()


def _thinned(trajectory: dict[str, list[float | None]]) -> list[Point]:
    """The step metrics, each at most `POINTS` long, first and last step included."""
    steps = [int(step or 0) for step in trajectory["step"]]
    points: list[Point] = []
    for column, key in STEP_METRICS.items():
        known = [(t, v) for t, v in zip(steps, trajectory[column], strict=True) if v is not None]
        stride = -(-len(known) // POINTS)
        kept = known[::stride] if stride > 1 else known
        if known and kept[-1] != known[-1]:
            kept = [*kept[: POINTS - 1], known[-1]]
        points += [Point(key, value, step) for step, value in kept]
    return points


def _time(record: Record, step: int) -> int:
    """When a step was, so that sending it again sends the same point."""
    last = len(record.trajectory["step"]) or 1
    return record.started + (record.finished - record.started) * min(step, last) // last


def _artifacts(record: Record, folder: Path) -> None:
    (folder / "config.yaml").write_text(to_yaml(record.config))
    (folder / "trajectory.parquet").write_bytes(record.parquet())
    (folder / "environment.json").write_text(json.dumps(record.environment, indent=2))
    if record.trajectory["loss"]:
        (folder / "theory_vs_measurement.png").write_bytes(plots.trial(record))


def _context() -> dict[str, str]:
    """The user, source and git tags MLflow's fluent API would have set."""
    from mlflow.tracking.context.registry import resolve_tags

    return {str(key): str(value) for key, value in resolve_tags().items()}
