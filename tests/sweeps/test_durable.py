"""The ledger and MLflow's store are created atomically, whenever the command is ended."""

import contextlib
import os
import shutil
import signal
import sqlite3
import time

import pytest
from alembic.script import ScriptDirectory
from command import assert_complete, client, inside, started
from mlflow.store.db import utils
from places import enlarged, little

from sweeps.errors import TrackingError
from sweeps.storage.ledger import Ledger
from sweeps.storage.schema import STATEMENTS
from sweeps.tracking import schema
from sweeps.tracking.server import silence

pytestmark = pytest.mark.slow

WORDS = ["run", "cluster=inline", "data.n=8", "model.width=16", "train.steps=20", "seed=0,1"]


def killed_after(seconds, work, path=None):
    """Fork this process, and kill it some time after its work or its file began."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"0")
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    os.read(reading, 1)
    end = time.monotonic() + 10
    while path and not path.exists() and time.monotonic() < end:
        pass
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)


def test_a_ledger_whose_creation_is_killed(tmp_path):
    for k in range(40):
        path = tmp_path / f"{k}.db"
        killed_after(k * 0.0003, lambda path=path: Ledger(path), path)
        with contextlib.closing(Ledger(path)) as ledger:
            assert ledger.results(["0" * 64]) == {}


@pytest.mark.parametrize("made", range(len(STATEMENTS) + 1))
def test_a_ledger_with_only_some_tables(made, tmp_path):
    """An earlier version created tables one by one and was interrupted."""
    path = tmp_path / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        for statement in STATEMENTS[:made]:
            db.execute(statement)
    for _ in range(2):
        with contextlib.closing(Ledger(path)) as ledger:
            assert ledger.unpublished("local") == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An empty store made by MLflow, and how long that takes."""
    silence()
    path = tmp_path_factory.mktemp("whole") / "mlflow.db"
    begun = time.monotonic()
    assert schema.ensure(path)
    return path, time.monotonic() - begun


def of(path, question):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(question).fetchall()


def assert_whole(path, whole):
    tables = "SELECT name FROM sqlite_master ORDER BY name"
    assert of(path, tables) == of(whole, tables)
    version = "SELECT version_num FROM alembic_version"
    assert of(path, version) == of(whole, version)
    assert of(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_store_whose_creation_is_killed(tmp_path, whole):
    path = tmp_path / "mlflow.db"
    for k in range(8):
        killed_after(whole[1] * k / 8, lambda: schema.ensure(path))
        if path.exists():
            assert_whole(path, whole[0])
            path.unlink()
    assert schema.ensure(path)
    assert_whole(path, whole[0])
    assert not schema.ensure(path)
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


HALVES = {
    "no version yet": "DELETE FROM alembic_version",
    "no tables but one": "DROP TABLE alembic_version; DROP TABLE runs",
    "within a migration": "CREATE TABLE _alembic_tmp_experiments (a); "
    "UPDATE alembic_version SET version_num = '451aebb31d03'",
}


@pytest.mark.parametrize("half", HALVES)
def test_a_half_made_store_is_created_again(half, tmp_path, whole):
    """MLflow would always refuse it; it is empty and can be replaced."""
    root = tmp_path / "outputs"
    path = root / "mlflow" / "mlflow.db"
    path.parent.mkdir(parents=True)
    shutil.copy(whole[0], path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(HALVES[half])
    done = inside(*WORDS, cwd=tmp_path, full=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert_complete(client(root), 2)


def older(path, back):
    """Create a store of an earlier schema with a run; return its revision."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import event

    revision = schema._revisions()[back]
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda db, _: db.execute("PRAGMA synchronous = OFF"))
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = utils._get_alembic_config(f"sqlite:///{path}")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO experiments (experiment_id, name) VALUES (7, 'theirs')")
        db.execute(
            "INSERT INTO runs (run_uuid, status, lifecycle_stage, experiment_id, "
            "user_id, start_time) VALUES ('abc', 'FINISHED', 'active', 7, 'me', 1)"
        )
        db.commit()
    return revision


@pytest.mark.filterwarnings("ignore")
def test_a_store_of_an_older_mlflow_is_kept_and_its_copy_upgraded(tmp_path, whole):
    silence()
    path = tmp_path / "outputs" / "mlflow" / "mlflow.db"
    path.parent.mkdir(parents=True)
    revision = older(path, 4)
    done = inside(*WORDS, cwd=tmp_path, full=True)
    assert done.returncode == 0, done.stderr
    assert_complete(client(tmp_path / "outputs"), 2)
    assert client(tmp_path / "outputs").get_run("abc").info.status == "FINISHED"
    kept = path.with_name(f"mlflow.db.{revision}")
    assert of(kept, "SELECT run_uuid FROM runs") == [("abc",)]
    assert of(kept, "SELECT version_num FROM alembic_version") == [(revision,)]


@pytest.mark.filterwarnings("ignore")
def test_an_upgrade_that_fails_or_is_killed_leaves_the_store_as_it_was(tmp_path, whole):
    silence()
    path = tmp_path / "mlflow.db"
    revision = older(path, 4)
    there = {name for (name,) in of(path, "SELECT name FROM sqlite_master")}
    to_come = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    new = next(name for (name,) in of(whole[0], to_come) if name not in there)
    before = "SELECT * FROM runs, experiments, alembic_version"
    was = of(path, before)
    for k in range(4):
        killed_after(whole[1] * k / 8, lambda: schema.ensure(path))
        assert of(path, "SELECT run_uuid FROM runs") == [("abc",)]
    if of(path, "SELECT version_num FROM alembic_version") != [(revision,)]:
        path.unlink()  # the last child was quick enough
        older(path, 4)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"CREATE TABLE {new} (a)")
    with pytest.raises(TrackingError, match="is as it was"):
        schema.ensure(path)
    assert of(path, before) == was


@pytest.mark.parametrize("kilobytes", [60, 300, 600, 1000])
def test_a_disk_that_fills_in_the_first_seconds(kilobytes, tmp_path):
    with little(tmp_path / "outputs", kilobytes) as root:
        done = inside(*WORDS, cwd=tmp_path, full=True)
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "make room" in done.stderr
        enlarged(root, 16_000)
        done = inside(*WORDS, cwd=tmp_path, full=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert_complete(client(root), 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_ended_while_it_makes_the_store(number, tmp_path):
    root = tmp_path / "outputs"
    with started(*WORDS, cwd=tmp_path, full=True) as process:
        while not list(root.glob("mlflow/mlflow.db*")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(number)
        _, output = process.communicate(timeout=60)
    assert "Traceback" not in output
    done = inside(*WORDS, cwd=tmp_path, full=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert_complete(client(root), 2)


def test_the_revisions_read_as_text_are_those_that_alembic_knows():
    """Guard of a private part: the text of MLflow's migrations."""
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    assert schema._revisions() == [script.revision for script in scripts.walk_revisions()]
