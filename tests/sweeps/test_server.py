"""Recording on a real MLflow server with a password, which is stopped and started again."""

import pytest
from command import SMALL, inside, runs, started
from services import AUTH

pytestmark = pytest.mark.services


def words(server, *more):
    return ["run", *SMALL, "cluster=inline", "tracking=server", f"tracking.uri={server.uri}", *more]


def test_two_machines_share_a_server_and_train_once(server, tmp_path, monkeypatch):
    for machine in ("one", "two"):
        (tmp_path / machine).mkdir()
    first = inside(*words(server, "study=two", "seed=0,1"), cwd=tmp_path / "one", **AUTH)
    assert first.returncode == 0, first.stderr
    public = ["tracking.public_url=https://mlflow.lab/here/"]
    asked = words(server, "study=two", "seed=0,1,2", *public)
    second = inside(*asked, cwd=tmp_path / "two", **AUTH)
    assert second.returncode == 0, second.stderr
    assert "https://mlflow.lab/here/#/experiments/" in second.stdout
    assert f"{server.uri}/#" not in second.stdout
    assert "2 finished before, 1 to train" in second.stdout
    api = server.client(monkeypatch)
    parents, trials = runs(api, "two")
    assert len(parents) == 2
    assert len(trials) == 3
    assert {run.info.status for run in parents + trials} == {"FINISHED"}
    names = {file.path for file in api.list_artifacts(trials[0].info.run_id)}
    assert {"config.yaml", "trajectory.parquet", "environment.json"} <= names
    table = [line.split() for line in second.stdout.splitlines() if line.startswith("seed=")]
    assert [row[:2] for row in table] == [[f"seed={s}", "budget"] for s in (0, 1, 2)]
    assert "-" not in table[0]  # a reused trial's numbers come from the server


def test_a_wrong_password_is_refused_and_shown_nowhere(server, tmp_path):
    done = inside(*words(server), cwd=tmp_path, **(AUTH | {"MLFLOW_TRACKING_PASSWORD": "hunter2x"}))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "MLFLOW_TRACKING_PASSWORD" in done.stderr
    assert "hunter2x" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_lost_when_the_server_dies(server, tmp_path, slow, monkeypatch):
    """It dies during a sweep; training continues, and sync sends the rest."""
    env = AUTH | slow | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with started(*words(server, "study=away", "seed=range(0,6)"), cwd=tmp_path, **env) as sweep:
        output = server.stop_during(sweep, tmp_path / "mark")
    assert sweep.returncode == 3
    assert "sweeps sync" in output
    asked = [f"tracking.uri={server.uri}", "tracking=server"]
    refused = inside("sync", *asked, cwd=tmp_path, **AUTH)
    assert refused.returncode == 2
    server.start()
    synced = inside("sync", *asked, cwd=tmp_path, **AUTH)
    assert synced.returncode == 0, synced.stderr
    assert synced.stdout.startswith("sent: ")
    assert inside("sync", *asked, cwd=tmp_path, **AUTH).stdout == "nothing is missing\n"
    parents, trials = runs(server.client(monkeypatch), "away")
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == len(trials) == 6
