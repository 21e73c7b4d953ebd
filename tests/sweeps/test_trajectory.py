"""A trajectory is encoded to Parquet once, and everything else holds the same file."""

import json
import pickle
import zipfile
from pathlib import Path

import pyarrow.parquet
from command import SMALL, inside

from sweeps.storage.ledger import reading
from sweeps.storage.record import Trajectory

COLUMNS = {"step": [0.0, 1.0], "norm_w": [1.5, None], "grad_check": [None, None]}


def test_a_trajectory_has_the_columns_that_it_was_made_from():
    made = Trajectory.of(COLUMNS)
    assert made == COLUMNS
    assert Trajectory(made.parquet) == COLUMNS
    assert Trajectory(b"") == {}


def test_a_pickled_trajectory_is_its_file():
    made = Trajectory.of(COLUMNS)
    assert made["step"] == [0.0, 1.0]
    long = Trajectory.of({"step": [0.0] * 100_000})
    assert len(pickle.dumps(long)) < 10_000  # not a hundred thousand numbers
    copy = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert copy.parquet == made.parquet
    assert copy == COLUMNS


def test_ledger_mlflow_and_archive_hold_the_file_that_the_worker_encoded(tmp_path, monkeypatch):
    encoded = []
    write_table = pyarrow.parquet.write_table

    def counted(table, sink, **options):
        write_table(table, sink, **options)
        encoded.append(sink.getvalue())

    monkeypatch.setattr(pyarrow.parquet, "write_table", counted)
    done = inside("run", *SMALL, "cluster=inline", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    exported = inside("export", result["sweep"], cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    (file,) = encoded
    digest = result["trials"][0]["config_hash"]
    with reading(tmp_path / "outputs" / "ledger.db") as ledger:
        assert ledger.get(digest).parquet() == file
    (artifact,) = (tmp_path / "outputs" / "mlflow").rglob("trajectory.parquet")
    assert artifact.read_bytes() == file
    with zipfile.ZipFile(tmp_path / Path(exported.stdout.strip())) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("trajectory.parquet")]
        assert archive.read(name) == file
