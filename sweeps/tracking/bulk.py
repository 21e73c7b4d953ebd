"""Writes whole runs of trials into MLflow's own database, many in one transaction.

MLflow's client takes a run in three requests and builds an object for each of its rows, which is
most of the driver's CPU time in a sweep of short trials. In the embedded store, which only this
process writes to, the rows are inserted directly. That uses private parts of MLflow; a test
compares the rows with those that the client writes, and where MLflow's tables have other
columns the client writes them.
"""

import contextlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.config.nested import flatten
from sweeps.storage.step_metrics import Point
from sweeps.tracking.runs import on_disk

Row = dict[str, Any]
# MLflow's tables of runs as this module fills them: the columns of each.
_POINT = {"run_uuid", "key", "value", "timestamp", "step", "is_nan"}
_PAIR = {"run_uuid", "key", "value"}
TABLES = {
    "SqlRun": {"run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id"}
    | {"source_version", "status", "start_time", "end_time", "deleted_time", "lifecycle_stage"}
    | {"artifact_uri", "experiment_id"},
    "SqlTag": _PAIR,
    "SqlParam": _PAIR,
    "SqlMetric": _POINT,
    "SqlLatestMetric": _POINT,
}


@dataclass(frozen=True)
class NewRun:
    """A run of a trial that has ended, with all that MLflow's database holds of it.

    Attributes:
        location: address of the experiment's artifacts.
        status: its final status.
        started, finished: milliseconds since the epoch.
        tags: its tags.
        config: the trial's config; its values become params.
        points: its metrics.
        run_id: its id.
    """

    location: str
    status: str
    started: int
    finished: int
    tags: dict[str, str]
    config: dict[str, Any]
    points: Sequence[Point]
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def folder(self) -> str:
        """Address of its artifacts, where MLflow would create them."""
        return f"{self.location.rstrip('/')}/{self.run_id}/artifacts"


class Bulk:
    """Collects the new runs of one experiment, and writes their rows in one transaction.

    Attributes:
        location: address of the experiment's artifacts.
    """

    def __init__(self, client: Any, experiment: str, location: str) -> None:
        """Collect nothing yet.

        Args:
            client: MLflow's client of the embedded store.
            experiment: the experiment's id.
            location: address of its artifacts, a folder of this machine.
        """
        self.location = location
        self._store, self._experiment = client._tracking_client.store, experiment
        self._runs: list[NewRun] = []

    @classmethod
    def of(cls, client: Any, experiment: str) -> "Bulk | None":
        """Return one for an experiment; None if only the client can write to the experiment.

        An MLflow whose tables have other columns is written to by its client.
        """
        if not known_tables():
            return None
        stored = client.get_experiment(experiment)
        if stored.lifecycle_stage != "active" or on_disk(stored.artifact_location) is None:
            return None
        return cls(client, experiment, stored.artifact_location)

    def add(self, run: NewRun) -> None:
        """Collect a run whose artifacts are written."""
        self._runs.append(run)

    def write(self) -> None:
        """Write the rows of the collected runs; if that fails, remove the runs' artifacts."""
        with contextlib.ExitStack() as undo:
            for run in self._runs:
                folder = on_disk(run.folder)
                assert folder is not None
                undo.callback(shutil.rmtree, folder.parent, ignore_errors=True)
            if self._runs:
                self._insert()
            undo.pop_all()

    def _insert(self) -> None:
        """Insert the rows of all tables."""
        from mlflow.store.tracking.dbmodels import models

        tables: dict[Any, list[Row]] = {
            models.SqlRun: [_run_row(run, int(self._experiment)) for run in self._runs],
            models.SqlTag: [row for run in self._runs for row in _rows(run.run_id, run.tags)],
            models.SqlParam: [row for run in self._runs for row in _param_rows(run)],
            models.SqlMetric: [],
            models.SqlLatestMetric: [],
        }
        for run in self._runs:
            metrics = _metric_rows(run)
            tables[models.SqlMetric] += metrics
            tables[models.SqlLatestMetric] += _latest(metrics)
        with self._store.ManagedSessionMaker(read_only=False) as session:
            for model, rows in tables.items():
                session.connection().execute(model.__table__.insert(), rows)


def known_tables() -> bool:
    """Return whether the tables of the installed MLflow have the columns that are filled here."""
    from mlflow.store.tracking.dbmodels import models

    return all(
        set(getattr(models, name).__table__.columns.keys()) == columns
        for name, columns in TABLES.items()
    )


def _run_row(run: NewRun, experiment: int) -> Row:
    return {
        "run_uuid": run.run_id,
        "name": run.tags["mlflow.runName"],
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "source_version": "",
        "user_id": run.tags.get("mlflow.user", "unknown"),
        "status": run.status,
        "start_time": run.started,
        "end_time": run.finished,
        "lifecycle_stage": "active",
        "artifact_uri": run.folder,
        "experiment_id": experiment,
    }


def _rows(run: str, values: dict[str, str]) -> Iterator[Row]:
    """Yield the rows of tags or params."""
    for key, value in values.items():
        yield {"run_uuid": run, "key": key, "value": value}


def _param_rows(run: NewRun) -> Iterator[Row]:
    """Yield the rows of the params, cut to MLflow's greatest length."""
    from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

    texts = {key: str(value) for key, value in flatten(run.config).items()}
    return _rows(run.run_id, {key: text[:MAX_PARAM_VAL_LENGTH] for key, text in texts.items()})


def _metric_rows(run: NewRun) -> list[Row]:
    """Return the rows of the points, without duplicates."""
    points = {(p.key, p.value, p.at, p.step): None for p in run.points}
    return [
        {
            "run_uuid": run.run_id,
            "key": key,
            "value": float(value),
            "timestamp": at,
            "step": step,
            "is_nan": False,
        }
        for key, value, at, step in points
    ]


def _latest(metrics: Sequence[Row]) -> Iterable[Row]:
    """Return the latest row of each metric, in the order that MLflow defines."""
    return {row["key"]: row for row in sorted(metrics, key=_order)}.values()


def _order(row: Row) -> tuple[int, int, float]:
    return row["step"], row["timestamp"], row["value"]
