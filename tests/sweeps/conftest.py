"""Fixtures that several of these tests share."""

import tempfile
from pathlib import Path

import pytest
from changes import changed, paced
from services import MlflowServer

from sweeps.storage.checkpoints import Checkpoints


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """An MLflow server with a password; whoever stops it starts it again."""
    made = MlflowServer(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def slow(tmp_path):
    """Environment of a command whose trials sleep in each step until tmp_path / "mark" is gone."""
    return changed(tmp_path / "changes", execution__pack_training=paced(tmp_path / "mark"))


@pytest.fixture
def checkpoints(tmp_path):
    """Checkpoints in this folder, one a minute."""
    return Checkpoints.under(tmp_path, 60.0)


@pytest.fixture
def short():
    """A folder of a short path, for Ray's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
