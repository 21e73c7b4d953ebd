"""Recording on an MLflow server: a real one, with a password, stopped and started again."""

import os
import subprocess
import sys
import time

import pytest
import requests
from command import ENV, SMALL, runs, started, sweeps, unused_port
from mlflow import MlflowClient

PASSWORD = "correct horse battery"  # noqa: S105
AUTH = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}


class Server:
    """An MLflow server with basic auth and proxied artifacts, as in docker-compose.yml."""

    def __init__(self, folder):
        self.folder, self.port = folder, unused_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        settings = {
            "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a test's",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1"]
        command += [f"--port={self.port}", "--workers=1", "--app-name=basic-auth"]
        command += ["--backend-store-uri=sqlite:///record.db", "--serve-artifacts"]
        command += [f"--artifacts-destination={self.folder}/artifacts"]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=ENV | settings,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(240):
            try:
                if requests.get(f"{self.uri}/health", timeout=1).ok:
                    return
            except requests.RequestException:
                time.sleep(0.5)
        raise TimeoutError("the MLflow server did not start")

    def stop(self):
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def client(self, monkeypatch):
        for name, value in AUTH.items():
            monkeypatch.setenv(name, value)
        return MlflowClient(self.uri)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.stop()


def words(server, *more):
    return ["run", *SMALL, "cluster=inline", "tracking=server", f"tracking.uri={server.uri}", *more]


def test_two_machines_share_a_server_and_train_once(server, tmp_path, monkeypatch):
    for machine in ("one", "two"):
        (tmp_path / machine).mkdir()
    first = sweeps(*words(server, "seed=0,1"), cwd=tmp_path / "one", **AUTH)
    assert first.returncode == 0, first.stderr
    second = sweeps(*words(server, "seed=0,1,2"), cwd=tmp_path / "two", **AUTH)
    assert second.returncode == 0, second.stderr
    assert "2 finished before, 1 to train" in second.stdout
    api = server.client(monkeypatch)
    parents, trials = runs(api)
    assert len(parents) == 2
    assert len(trials) == 3
    assert {run.info.status for run in parents + trials} == {"FINISHED"}
    names = {file.path for file in api.list_artifacts(trials[0].info.run_id)}
    assert {"config.yaml", "trajectory.parquet", "environment.json"} <= names
    table = [line.split() for line in second.stdout.splitlines() if line.startswith("seed=")]
    assert [row[:2] for row in table] == [[f"seed={s}", "budget"] for s in (0, 1, 2)]
    assert "-" not in table[0]  # a reused trial's numbers come from the server


def test_a_wrong_password_is_refused_and_shown_nowhere(server, tmp_path):
    done = sweeps(*words(server), cwd=tmp_path, **(AUTH | {"MLFLOW_TRACKING_PASSWORD": "hunter2x"}))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "MLFLOW_TRACKING_PASSWORD" in done.stderr
    assert "hunter2x" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_a_server_that_goes_away_loses_nothing(server, tmp_path, monkeypatch):
    """It dies in the middle of a sweep; the training goes on, and sync sends the rest."""
    with started(*words(server, "study=away", "seed=range(0,6)"), cwd=tmp_path, **AUTH) as sweep:
        for line in sweep.stdout:
            if line.startswith("[1/6]"):
                server.stop()
                break
        said, _ = sweep.communicate(timeout=200)
    assert sweep.returncode == 0
    assert "sweeps sync" in said
    asked = [f"tracking.uri={server.uri}", "tracking=server"]
    refused = sweeps("sync", *asked, cwd=tmp_path, **AUTH)
    assert refused.returncode == 2
    server.start()
    assert sweeps("sync", *asked, cwd=tmp_path, **AUTH).stdout == "nothing is owed\n"
    parents, trials = runs(server.client(monkeypatch), "away")
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == len(trials) == 6


def test_no_secret_is_written(server, tmp_path, monkeypatch):
    """Neither under the output root nor in what the server holds."""
    uri = server.uri.replace("http://", f"http://admin:{PASSWORD.replace(' ', '%20')}@")
    done = sweeps(*words(server, "study=secret", f"tracking.uri={uri}"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    needles = [PASSWORD.encode(), PASSWORD.replace(" ", "%20").encode()]
    written = [p for root in (tmp_path, server.folder) for p in root.rglob("*") if p.is_file()]
    assert len(written) > 4
    for path in written:
        assert not any(needle in path.read_bytes() for needle in needles), path
    assert not any(needle.decode() in done.stdout + done.stderr for needle in needles)
