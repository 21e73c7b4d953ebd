"""Rows of trials' runs written into MLflow's database in one transaction."""

import sqlite3
from dataclasses import replace

import pytest
from command import quick
from mlflow.exceptions import MlflowException
from records import RECORD

from sweeps.config.early_stopping import STOPPED_AT
from sweeps.config.launch import TrackingConfig
from sweeps.errors import TrackingError
from sweeps.storage.record import Trajectory
from sweeps.tracking import artifacts, bulk
from sweeps.tracking.bulk import Bulk
from sweeps.tracking.runs import SweepPage
from sweeps.tracking.tracker import Tracker

TABLES = ("runs", "tags", "params", "metrics", "latest_metrics", "inputs", "input_tags")
ALL = "SELECT * FROM "
CONFIG = {"seed": 0, "data": {"name": "sphere", "n": 4, "d": 3, "seed": 0}}
LONG = {"step": [0.0, 1.0, 2.0], "loss": [4.0, 2.0, 2.0], "norm_w": [1.0, None, 1.0]}
BASE = replace(RECORD, config=CONFIG, started=1000, finished=1000)
RECORDS = (
    BASE,
    replace(BASE, config_hash="ac" * 32, config=CONFIG | {"text": "x" * 9000}),
    replace(BASE, config_hash="ad" * 32, trajectory=Trajectory.of(LONG)),
    replace(
        BASE,
        config_hash="ae" * 32,
        status="stopped",
        stopped_in="sweep",
        summary=BASE.summary | {STOPPED_AT: 2.0},
        environment={"packages": {"deq-sweeps": "0.0.9"}, "code": {"commit": "c" * 40}},
    ),
)


@pytest.fixture(autouse=True)
def copied_tables():
    """MLflow's tables are copied."""
    with quick():
        yield


def opened(root):
    """A tracker of an embedded store, and the page of a sweep in it."""
    tracker = Tracker(TrackingConfig(), root)
    experiment = tracker.experiment("study")
    return tracker, SweepPage(experiment, tracker.pages.begin(experiment, "sweep", {}, {}), "sweep")


def rows(root):
    """The rows of the trials' runs in each table, with names in place of ids and places."""
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as db:
        query = "SELECT run_uuid, value FROM tags WHERE key = 'sweeps.config_hash'"
        names = dict(db.execute(query).fetchall())
        inputs = db.execute("SELECT input_uuid, destination_id FROM inputs")
        names |= {one: f"input of {names[run]}" for one, run in inputs}
        trials = set(names.values())
        names |= {one: "data" for (one,) in db.execute("SELECT dataset_uuid FROM datasets")}
        parents = db.execute("SELECT run_uuid FROM tags WHERE value = 'sweep'").fetchall()
        names |= {one: "page" for (one,) in parents if one not in names} | {str(root): "root"}
        tables = {table: db.execute(ALL + table).fetchall() for table in TABLES}
    db.close()

    def named(value):
        for one, name in names.items():
            value = value.replace(one, name) if isinstance(value, str) else value
        return value

    kept = {table: [tuple(map(named, row)) for row in tables[table]] for table in TABLES}
    return {
        table: sorted((row for row in kept[table] if trials & set(row)), key=repr)
        for table in TABLES
    }


def send(batch, *records):
    with batch:
        for record in records:
            batch.add("name", record, b"png")
    return batch.written


def test_the_rows_are_those_that_mlflows_client_writes(tmp_path, monkeypatch):
    written = []
    for way in ("bulk", "client"):
        tracker, page = opened(tmp_path / way)
        if way == "client":
            monkeypatch.setattr(Bulk, "of", lambda *_: None)
        runs = send(tracker.batch(page), *RECORDS)
        assert all(len(tracker._client.list_artifacts(run)) == 4 for run in runs)
        written.append(rows(tmp_path / way))
    assert written[0] == written[1]
    assert [len(written[0][table]) for table in ("runs", "inputs")] == [len(RECORDS)] * 2
    assert all(written[0].values())


def test_tables_with_other_columns_are_left_to_mlflows_client(tmp_path, monkeypatch):
    """A later MLflow may want more of a row than is written here."""
    tracker, page = opened(tmp_path)
    assert Bulk.of(tracker._client, page.experiment)
    tables = {**bulk.TABLES, "SqlTag": {*bulk.TABLES["SqlTag"], "workspace"}}
    monkeypatch.setattr(bulk, "TABLES", tables)
    assert Bulk.of(tracker._client, page.experiment) is None
    assert len(send(tracker.batch(page), RECORDS[0])) == 1


def test_a_batch_of_results_is_read_as_any_other(tmp_path):
    tracker, page = opened(tmp_path)
    runs = send(tracker.batch(page), *RECORDS)
    hashes = [record.config_hash for record in RECORDS]
    results = tracker.finished_results(page.experiment, hashes)
    assert set(results) == set(hashes[:3])
    assert results[hashes[0]].summary == RECORDS[0].summary
    assert send(tracker.batch(page), *RECORDS) == runs


def fails(*_):
    raise MlflowException("full")


def test_a_batch_that_is_not_taken_leaves_nothing(tmp_path, monkeypatch):
    tracker, page = opened(tmp_path)
    folder = tmp_path / "mlflow" / "artifacts" / "study"
    before = {path.name for path in folder.iterdir()}
    monkeypatch.setattr(Bulk, "_insert", fails)
    batch = tracker.batch(page)
    with pytest.raises(TrackingError, match="did not take a result: full"):
        send(batch, RECORDS[0])
    assert batch.written == []
    assert {path.name for path in folder.iterdir()} == before
    monkeypatch.undo()
    assert len(send(tracker.batch(page), RECORDS[0])) == 1


def test_a_refused_result_does_not_hold_up_those_before_it(tmp_path, monkeypatch):
    tracker, page = opened(tmp_path)
    write = artifacts.write_artifacts
    monkeypatch.setattr(
        artifacts,
        "write_artifacts",
        lambda record, *more: fails() if record is RECORDS[1] else write(record, *more),
    )
    batch = tracker.batch(page)
    with pytest.raises(TrackingError):
        send(batch, *RECORDS)
    (run,) = batch.written
    assert tracker._client.get_run(run).info.status == "FINISHED"
    assert len(rows(tmp_path)["runs"]) == 1


def test_a_deleted_experiment_refuses_its_results(tmp_path):
    tracker, page = opened(tmp_path)
    tracker._client.delete_experiment(page.experiment)
    batch = tracker.batch(page)
    with pytest.raises(TrackingError, match="active"):
        send(batch, RECORDS[0])
    assert batch.written == []
