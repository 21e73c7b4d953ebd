"""Odd output roots, other users' roots, damaged files: right, or one line and nothing written."""

import contextlib
import json
import os
import shlex
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import ENV, ROOT, client, inside
from places import as_nobody, other_users, read_only

from sweeps.cli.complete_ids import _ledger
from sweeps.cli.launch import _locations
from sweeps.config import request
from sweeps.config.launch import LaunchConfig, PathsConfig
from sweeps.driver.heartbeat import NAME, last_heartbeat
from sweeps.storage import database
from sweeps.storage.ledger import Ledger
from sweeps.tracking.tracker import Tracker

pytestmark = pytest.mark.slow

WORDS = ["run", "cluster=inline", "data.n=8", "model.width=16", "train.steps=20", "study='Öl'"]


@pytest.fixture(scope="module")
def trained():
    """A folder that everybody may look into, with an output root of one trial; its hash."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        done = inside(*WORDS, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        yield folder, result["trials"][0]["config_hash"], result["sweep"]


@pytest.fixture
def root(trained, tmp_path):
    """A copy of that root to spoil."""
    subprocess.run(["cp", "-r", trained[0] / "outputs", tmp_path / "outputs"], check=True)
    for name in ("ledger.db", "mlflow/mlflow.db"):  # with nothing in its log
        with contextlib.closing(sqlite3.connect(tmp_path / "outputs" / name)) as db:
            db.execute("PRAGMA journal_mode = WAL")
    return tmp_path / "outputs"


def refused(done, *message, code=2):
    """It ended in one line that says this."""
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(text in done.stderr for text in message), done.stderr


def listing(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_store_of_another_mlflow(root):
    with contextlib.closing(sqlite3.connect(root / "mlflow" / "mlflow.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        db.commit()
    for words in (WORDS, ["sync"], ["ui", "--port", "5999"]):
        refused(inside(*words, cwd=root.parent), "another version of MLflow", "install")


def test_a_file_that_another_program_holds(root, monkeypatch):
    monkeypatch.setattr(database, "WRITER_WAITS", 0.1)
    monkeypatch.setattr(database, "READER_WAITS", 0.1)
    for name, commands in (("ledger.db", (WORDS, ["status"])), ("mlflow/mlflow.db", (WORDS,))):
        with contextlib.closing(sqlite3.connect(root / name, isolation_level=None)) as db:
            if name == "ledger.db":  # without a log, whoever reads waits too
                db.execute("PRAGMA journal_mode = DELETE")
            db.execute("BEGIN EXCLUSIVE")
            for words in commands:
                refused(inside(*words, cwd=root.parent), name, "locked by another program")
        assert inside(*WORDS, cwd=root.parent).returncode == 0


def zeroed(path):
    with path.open("r+b") as file:
        file.write(bytes(16))


def halved(path):
    os.truncate(path, path.stat().st_size // 2)


def crushed(path):
    """The compressed spec of a sweep."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE sweeps SET spec = x'00112233'")
        db.commit()


@pytest.mark.parametrize("damage", [zeroed, halved, crushed])
def test_a_damaged_ledger(damage, root):
    """Moved away, MLflow's record is used."""
    damage(root / "ledger.db")
    for words in (["status"], ["run", "--dry-run", *WORDS[1:]]):
        if damage is crushed and words[0] == "run":
            continue
        refused(inside(*words, cwd=root.parent), "ledger.db is damaged", "move it")
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (root / name).unlink(missing_ok=True)
    done = inside(*WORDS, cwd=root.parent)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


def test_a_ledger_whose_text_is_damaged(root):
    with contextlib.closing(sqlite3.connect(root / "ledger.db")) as db:
        db.execute("UPDATE results SET head = CAST(x'ff' AS TEXT)")
        db.execute("UPDATE sweeps SET study = CAST(x'ff' AS TEXT)")
        db.commit()
    for words in (["status"], ["run", "--dry-run", "--why", *WORDS[1:], "seed=7"]):
        refused(inside(*words, cwd=root.parent), "ledger.db is damaged", "move it")


def test_a_damaged_store(root):
    zeroed(root / "mlflow" / "mlflow.db")
    for words in (WORDS, ["sync"], ["ui", "--port", "5999"]):
        refused(inside(*words, cwd=root.parent), "mlflow.db is damaged", "move it")


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/nope", "n" * 300, "/dev/null"])
def test_a_root_that_cannot_be(name, tmp_path):
    (tmp_path / "file").touch()
    before = listing(tmp_path)
    refused(inside(*WORDS, f"paths.output={name}", cwd=tmp_path), "choose another paths.output")
    for words in (["status"], ["ui", "--port", "5999"]):
        refused(inside(*words, f"paths.output={name}", cwd=tmp_path), name)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["''", "' '", "file:///tmp/x", "s3://bucket/x"])
def test_a_root_that_is_no_folder(name, tmp_path):
    refused(inside(*WORDS, f"paths.output={name}", cwd=tmp_path), "no folder")
    refused(inside("status", cwd=tmp_path, SWEEPS_OUTPUT=" "), "no folder")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["per%20cent", "per%cent", "q?x=1"])
def test_a_root_that_mlflow_cannot_address(name, tmp_path):
    done = inside(*WORDS, cwd=tmp_path, SWEEPS_OUTPUT=str(tmp_path / "roots" / name))
    refused(done, name, "% or ?", "choose another paths.output")
    assert listing(tmp_path) == []
    (tmp_path / name).mkdir()  # a root whose own name is good, in a folder whose name is not
    before = listing(tmp_path)
    refused(inside(*WORDS, cwd=tmp_path / name), "% or ?")
    assert listing(tmp_path) == before


ODD = ["a,b", "ünï", "q'\"te", "h#sh", "semi;colon", "${x}", "$HOME", "[x]", "{x}", "a=b", "a&b"]
ODD += ["end ", " begin", "back\\slash", "(x)", "a b", "null", "1e3", "~", "a:b", "@x", "*", "日本"]


def test_the_command_that_is_printed_opens_that_root(monkeypatch):
    """Read as a shell and as Hydra read it."""
    links = {"trials": "", "sweep": ""}
    for output in ["outputs", "null", "1e3", "~", " begin", *(f"/a/{name}/{name}" for name in ODD)]:
        launch = LaunchConfig(paths=PathsConfig(output))
        line = _locations(SimpleNamespace(links=links, waits=None), launch)[0]
        typed = line.partition("To browse: ")[2].removesuffix(", then open")
        *settings, program, command = shlex.split(typed)
        assert (program, command) == ("sweeps", "ui")
        with monkeypatch.context() as patch:
            patch.delenv("SWEEPS_OUTPUT", raising=False)
            for name, _, value in (word.partition("=") for word in settings):
                patch.setenv(name, value)
            assert request.request([]).launch.paths.output == output


@pytest.mark.parametrize("name", ["a,b", "q'\"te ${x}", "h#sh", "end "])
def test_an_odd_root_works(name, tmp_path, root):
    odd = tmp_path / name
    root.rename(odd)
    done = inside(*WORDS, "seed=0,1", cwd=tmp_path, SWEEPS_OUTPUT=str(odd))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 finished before, 1 to train" in done.stdout
    assert listing(tmp_path)[0] == str(odd)


def test_an_empty_variable_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_OUTPUT", "")
    assert request.request([]).launch.paths.output == "outputs"
    assert _ledger([]) == Path("outputs/ledger.db")


def looks(digest, sweep):
    """The commands that look, and need no place but for what they are told to write."""
    yield ["status"]
    yield ["status", sweep, "--json"]
    yield ["run", "--dry-run", "--why", *WORDS[1:], "seed=0,1"]
    yield ["cite", sweep]
    yield ["diff", digest, digest]
    yield ["doctor"]


@pytest.mark.parametrize("log", ["closed", "open"])
def test_another_users_root(log, trained, short):
    """Looked at; with what its driver is writing; to write there is one line."""
    folder, digest, sweep = trained
    short.chmod(0o777)
    copied = short / "outputs"
    subprocess.run(["cp", "-r", folder / "outputs", copied], check=True)
    with contextlib.ExitStack() as stack:
        if log == "open":
            ledger = stack.enter_context(contextlib.closing(Ledger(copied / "ledger.db")))
            ledger.save_failure("f" * 64, "in the log alone", final=True)
            assert (copied / "ledger.db-wal").stat().st_size > 0
        before = listing(copied)
        for words in looks(digest, sweep):
            done = as_nobody(*words, cwd=short)
            assert done.returncode == (1 if words[0] == "doctor" else 0), done.stderr
        done = as_nobody("export", sweep, "-o", str(short / f"{log}.zip"), cwd=short)
        assert done.returncode == 0, done.stderr
        for words in (WORDS, ["sync"], ["ui", "--port", "5999"], ["report", sweep]):
            refused(as_nobody(*words, cwd=short), "not accessible to this user", "paths.output")
        refused(as_nobody("export", sweep, cwd=short), "not accessible to this user")
        assert listing(copied) == before
        copied.chmod(0o700)
        refused(as_nobody("status", cwd=short), "not accessible to this user")


def test_a_root_on_a_disk_that_is_read_only(trained, short):
    folder, digest, sweep = trained
    with read_only(folder / "outputs", short / "outputs"):
        for words in looks(digest, sweep):
            done = inside(*words, cwd=short)
            assert done.returncode == (1 if words[0] == "doctor" else 0), done.stderr
        done = inside("export", sweep, "-o", str(short / "x.zip"), cwd=short)
        assert done.returncode == 0, done.stderr
        done = inside("reproduce", digest, cwd=short)
        assert done.returncode == 0, done.stderr
        assert "identical" in done.stdout
        assert "not recorded" in done.stderr
        for words in (WORDS, ["sync"], ["ui", "--port", "5999"], ["report", sweep]):
            refused(inside(*words, cwd=short), "is read-only", "paths.output")


def test_a_log_without_its_index_in_a_folder_that_is_read_only(root, short):
    """As a copy of a root whose driver was killed may be: its results are not passed over."""
    with contextlib.closing(Ledger(root / "ledger.db")) as ledger:
        ledger.save_failure("f" * 64, "in the log alone", final=True)
        subprocess.run(["cp", "-r", root, short / "source"], check=True)
    (short / "source" / "ledger.db-shm").unlink()
    with read_only(short / "source", short / "outputs"):
        refused(inside("status", cwd=short), "ledger.db", "cannot be opened")


def test_no_home(tmp_path):
    """A user whom the system does not know, without HOME."""
    other_users()
    tmp_path.chmod(0o777)
    env = {k: v for k, v in ENV.items() if k != "HOME"}
    words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    words += [sys.executable, "-m", "sweeps", *WORDS]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        done = subprocess.run(words, cwd=name, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "set HOME" in done.stderr.splitlines()[-1]
        assert listing(Path(name)) == []


def test_an_archive_where_something_else_is(trained, tmp_path):
    folder, _, sweep = trained
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to-fifo").symlink_to(tmp_path / "fifo")
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("fifo", "to-fifo", "null"):
        done = inside("export", sweep, "-o", str(tmp_path / name), cwd=folder)
        refused(done, "not a regular file")
    refused(inside("export", sweep, "-o", str(tmp_path / "loop"), cwd=folder), "not a regular")
    assert (tmp_path / "fifo").is_fifo()
    assert (tmp_path / "null").is_char_device()
    (tmp_path / "there.zip").write_text("old")
    for name in ("there.zip", "new.zip"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(name)
        done = inside("export", sweep, "-o", str(link), cwd=folder)
        assert done.returncode == 0, done.stderr
        assert link.is_symlink()
        assert (tmp_path / name).read_bytes().startswith(b"PK")


def shell(text, cwd, **env):
    """A command of a shell, in which $SWEEPS is this one."""
    command = f"{shlex.quote(sys.executable)} -m sweeps"
    return subprocess.run(
        ["sh", "-c", text.replace("$SWEEPS", command)],
        cwd=cwd,
        env=ENV | {"PYTHONPATH": str(ROOT)} | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_streams_that_cannot_encode_or_are_closed(trained):
    folder = trained[0]
    done = shell("$SWEEPS status", folder, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xd6l" in done.stdout
    done = shell("$SWEEPS status >&- 2>&- <&-", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = shell("$SWEEPS status > /dev/full", folder)
    refused(done, "standard output", code=1)


def test_a_command_whose_output_nobody_reads_any_more_goes_on(tmp_path):
    words = "data.n=8 train.steps=20 model.width=16 cluster=inline seed=0,1"
    for command in ("$SWEEPS show", f"$SWEEPS run {words}", f"$SWEEPS run {words} --json"):
        done = shell(f"{{ {command}; echo $? >&2; }} | true", tmp_path)
        assert done.stderr.splitlines()[-1] == "0", done.stderr
        assert "Traceback" not in done.stderr
    (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert (status["state"], status["done"]) == ("finished", 2)


GARBAGE = ["text", [], None, {"at": "text"}, {"at": None, "host": "h", "pid": 1, "running": {}}]
GARBAGE += [{"at": 4e9, "host": "h", "pid": 1, "running": r} for r in ([], {"a": 1}, {"a": [1]})]
GARBAGE += [{"at": 4e9, "host": "h", "pid": 1, "running": {"a": ["x", "y"]}}, {"at": 4e9}]
GARBAGE += [{"at": 4e9, "host": 1, "pid": "x", "running": {}}]


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_heartbeat_is_ignored(content, tmp_path):
    (tmp_path / NAME).write_text(json.dumps(content))
    assert last_heartbeat(tmp_path) is None


def test_a_present_heartbeat_is_read(tmp_path):
    content = {"at": time.time(), "host": "h", "pid": 1, "running": {"a": [1, 2]}}
    (tmp_path / NAME).write_text(json.dumps(content))
    assert last_heartbeat(tmp_path).running == {"a": [1, 2]}
    (tmp_path / NAME).write_text("[" * 100_000)
    assert last_heartbeat(tmp_path) is None


def test_a_store_deleted_under_a_process_is_made_anew(root):
    """A user of a notebook may delete the store between two sweeps."""
    settings = LaunchConfig().tracking
    Tracker(settings, root)
    for path in root.glob("mlflow/mlflow.db*"):
        path.unlink()
    Tracker(settings, root).experiment("new")
    with contextlib.closing(sqlite3.connect(root / "mlflow" / "mlflow.db")) as db:
        assert ("new",) in db.execute("SELECT name FROM experiments").fetchall()


@pytest.mark.skipif(find_spec("boto3") is not None, reason="boto3 is installed")
def test_artifacts_that_need_a_package_that_is_not_there(root):
    client(root).create_experiment("in a bucket", artifact_location="s3://bucket/x")
    done = inside(*WORDS[:-1], "study='in a bucket'", "seed=5", cwd=root.parent)
    refused(done, "a package that is not installed", "boto3")
