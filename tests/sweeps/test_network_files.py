"""A root on a network file system: its SQLite files need no memory that machines would share."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import inside
from places import as_nobody

from sweeps.storage import network_files
from sweeps.storage.ledger import Ledger, reading
from sweeps.storage.network_files import is_on_network

WORDS = ["run", "data.n=8", "train.steps=4", "model.width=4", "cluster=inline"]
HASHES = [f"{number:064x}" for number in range(60)]
# Of a file that is larger than the cache given to it, so that half of the change is in the file.
KILLED_WRITER = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 5")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE failures SET error = 'half'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def mounts(monkeypatch):
    """A table of mounts, to which a test adds (folder, type)."""
    table = []
    monkeypatch.setattr(
        network_files.psutil,
        "disk_partitions",
        lambda **_: [SimpleNamespace(mountpoint=str(at), fstype=kind) for at, kind in table],
    )
    return table


def format_of(path):
    """Format of an SQLite file: 1 with a rollback journal, 2 with a write-ahead log."""
    return path.read_bytes()[18]


def test_the_nearest_mount_decides(mounts, tmp_path):
    mounts += [("/", "ext4"), (tmp_path, "nfs4"), (tmp_path / "scratch", "xfs")]
    mounts += [(tmp_path / "twice", "xfs"), (tmp_path / "twice", "fuse.sshfs"), ("/proc", "proc")]
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    expected = {"": True, "a/b": True, "scratch/a": False, "link/a": False, "scratchy": True}
    expected |= {"twice/a": True, "..": False, "scratch/../a": True}
    assert {name: is_on_network(tmp_path / name) for name in expected} == expected


@pytest.mark.slow
def test_a_sweep_on_a_network_file_system_leaves_no_log(mounts, tmp_path):
    mounts += [("/", "ext4"), (tmp_path, "lustre")]
    done = inside(*WORDS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [tmp_path / "outputs" / "ledger.db", tmp_path / "outputs" / "mlflow" / "mlflow.db"]
    assert [format_of(file) for file in files] == [1, 1]
    assert not list(tmp_path.rglob("*-wal")) + list(tmp_path.rglob("*-shm"))
    for words in (["status"], WORDS, ["sync"]):
        assert inside(*words, cwd=tmp_path).returncode == 0


def test_a_root_that_moves_between_file_systems(mounts, tmp_path):
    mounts += [("/", "ext4")]
    path = tmp_path / "ledger.db"
    formats = []
    for kind in ("ext4", "nfs", "ext4"):
        mounts += [(tmp_path, kind)]
        with contextlib.closing(Ledger(path)) as ledger:
            ledger.save_failure(f"{len(formats)}" * 64, "an error", final=True)
        formats += [format_of(path)]
    assert formats == [2, 1, 2]
    with reading(path) as ledger:
        assert len(ledger.failures(["0" * 64, "1" * 64, "2" * 64])) == 3


def test_an_open_file_keeps_its_log(mounts, tmp_path):
    mounts += [("/", "ext4")]
    path = tmp_path / "ledger.db"
    with contextlib.closing(Ledger(path)) as first:
        first.save_failure("0" * 64, "an error", final=True)
        mounts += [(tmp_path, "nfs")]
        with contextlib.closing(Ledger(path)) as second:
            second.save_failure("1" * 64, "an error", final=True)
        assert len(first.failures(["0" * 64, "1" * 64])) == 2
    assert format_of(path) == 2


@pytest.fixture
def broken(mounts):
    """A root whose writer was killed with half of its change in the ledger's file."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder, "outputs", "ledger.db")
        mounts += [("/", "ext4"), (folder, "nfs")]
        with contextlib.closing(Ledger(path)) as ledger:
            for digest in HASHES:
                ledger.save_failure(digest, 200 * "whole", final=True)
        Path(folder).chmod(0o755)
        words = [sys.executable, "-c", KILLED_WRITER, str(path)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
            assert db.execute("SELECT count(*) FROM failures WHERE error = 'half'").fetchone()[0]
        yield path


def test_what_a_killed_writer_left_is_rolled_back_before_it_is_read(broken):
    with reading(broken) as ledger:
        assert {each.error for each in ledger.failures(HASHES).values()} == {200 * "whole"}


def test_what_a_killed_writer_left_is_not_read_by_who_cannot_roll_it_back(broken):
    done = as_nobody("status", cwd=broken.parents[1])
    assert done.returncode == 2
    assert "half-written by a program that was killed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert inside("status", cwd=broken.parents[1]).returncode == 0
    assert as_nobody("status", cwd=broken.parents[1]).returncode == 0
