"""Sweeps from the command line to MLflow."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

SMALL = ["data.n=8", "train.steps=30", "model.width=16"]
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SWEEPS_", "MLFLOW_TRACKING"))}
ENV |= {"PYTHONWARNINGS": "ignore", "COLUMNS": "200"}
ROOT = Path(__file__).parents[2]


def sweeps(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "sweeps", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=ENV | {"PYTHONPATH": str(ROOT)},
        timeout=280,
    )


def client(output):
    return MlflowClient(f"sqlite:///{output}/mlflow/mlflow.db")


def runs(output, study="default"):
    api = client(output)
    experiment = api.get_experiment_by_name(study)
    found = api.search_runs([experiment.experiment_id])
    parents = [r for r in found if r.data.tags["sweeps.kind"] == "sweep"]
    return parents, [r for r in found if r.data.tags["sweeps.kind"] == "trial"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """One sweep of four trials, on Ray."""
    where = tmp_path_factory.mktemp("sweep")
    done = sweeps("run", *SMALL, "model.activation=relu,tanh", "seed=range(0,2)", cwd=where)
    assert done.returncode == 0, done.stderr
    return where, done


def test_the_table_and_the_way_to_the_record(recorded):
    _, done = recorded
    for word in ("measured/bound", "lambda_0/m", "relu seed=0", "tanh seed=1", "sweeps ui"):
        assert word in done.stdout
    assert "workflowType=machine_learning" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_names_of_the_contract_are_in_the_store(recorded):
    where, _ = recorded
    parents, trials = runs(where / "outputs")
    assert len(parents) == 1
    assert len(trials) == 4
    assert parents[0].info.status == "FINISHED"
    for run in trials:
        assert run.info.status == "FINISHED"
        tags = run.data.tags
        assert tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert len(tags["sweeps.config_hash"]) == len(tags["sweeps.cell_hash"]) == 64
        assert tags["sweeps.status"] == "budget"
        for name in ("sweeps.sweep", "sweeps.version", "sweeps.device", "mlflow.user"):
            assert tags[name]
        assert tags["mlflow.source.name"]
        assert run.data.params["model.width"] == "16"
        expected = [
            "train/loss",
            "train/residual",
            "train/grad_norm",
            "spectrum/lambda_min_gram",
            "spectrum/lambda_min_tangent",
            "spectrum/norm_w",
            "solver/forward_steps",
            "solver/adjoint_steps",
            "rate/measured",
            "rate/measured_stderr",
            "rate/linearized",
            "rate/asymptotic",
            "rate/bound",
            "rate/population",
            "rate/measured_over_bound",
            "rate/measured_over_linearized",
            "theory/lambda_0",
            "theory/lambda_0_over_m",
            "theory/lambda_star",
            "theory/gram_error",
            "theory/slack_7",
            "theory/slack_8",
            "theory/slack_9",
            "theory/slack_10",
            "theory/bound_violation",
            "theory/lambda_ratio_min",
            "time/seconds",
            "time/seconds_per_step",
        ]
        assert set(expected) <= set(run.data.metrics)
        api = client(where / "outputs")
        names = {file.path for file in api.list_artifacts(run.info.run_id)}
        assert {"config.yaml", "trajectory.parquet", "environment.json"} <= names
        history = api.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == list(range(31))
    assert len({run.info.run_name for run in trials}) == 4
    assert any(key.startswith("cell_mean/") for key in parents[0].data.metrics)
    assert "measured" in parents[0].data.tags["mlflow.note.content"]


def test_the_same_command_again_trains_nothing_and_a_wider_grid_only_the_new(recorded):
    where, _ = recorded
    same = sweeps("run", *SMALL, "model.activation=relu,tanh", "seed=range(0,2)", cwd=where)
    assert same.returncode == 0
    assert "nothing to do" in same.stdout
    assert [len(part) for part in runs(where / "outputs")] == [1, 4]
    plan = sweeps(
        "run",
        *SMALL,
        "model.activation=relu,tanh",
        "seed=range(0,3)",
        "--dry-run",
        "--json",
        cwd=where,
    )
    trials = json.loads(plan.stdout)["trials"]
    assert sum(trial["finished"] for trial in trials) == 4
    assert len(trials) == 6


def test_the_root_can_be_moved(recorded, tmp_path):
    where, _ = recorded
    shutil.copytree(where / "outputs", tmp_path / "outputs")
    done = sweeps("run", *SMALL, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0
    _, trials = runs(tmp_path / "outputs")
    for run in trials:
        assert str(tmp_path) in run.info.artifact_uri
        assert client(tmp_path / "outputs").list_artifacts(run.info.run_id)


def test_a_trial_that_raises_fails_alone(tmp_path):
    """Width 10^6 asks for 8 TB: the allocation raises on the worker."""
    done = sweeps("run", "data.n=8", "train.steps=5", "model.width=1000000,16", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "failed" in done.stdout
    assert "budget" in done.stdout
    parents, trials = runs(tmp_path / "outputs")
    assert [run.data.params["model.width"] for run in trials] == ["16"]
    assert parents[0].info.status == "FAILED"


def test_packed_trials_are_recorded_one_by_one(tmp_path):
    done = sweeps("run", *SMALL, "cluster=inline", "pack=3", "seed=range(0,3)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(runs(tmp_path / "outputs")[1]) == 3


def test_another_study_reuses_the_training(tmp_path):
    first = sweeps("run", *SMALL, "cluster=inline", cwd=tmp_path)
    second = sweeps("run", *SMALL, "cluster=inline", "study=other", cwd=tmp_path)
    assert first.returncode == second.returncode == 0
    assert "nothing to do" in second.stdout
    assert len(runs(tmp_path / "outputs", "other")[1]) == 1


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "words",
    [
        ["model.widht=3"],
        ["model.width=0"],
        ["experiment=nope"],
        ["tracking=server"],
        ["tracking=server", "tracking.uri=@dead"],
        ["--no-such-flag"],
    ],
)
def test_mistakes_start_and_write_nothing(words, tmp_path):
    words = [w.replace("@dead", f"http://127.0.0.1:{unused_port()}") for w in words]
    done = sweeps("run", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_show_and_dry_run_write_nothing(tmp_path):
    shown = sweeps("show", "model.width=8,16", cwd=tmp_path)
    assert shown.stdout.count("width:") == 2
    hashes = sweeps("show", "--hash", cwd=tmp_path)
    assert len(hashes.stdout.strip()) == 64
    planned = sweeps("run", "experiment=quickstart", "--dry-run", cwd=tmp_path)
    assert "12 to train" in planned.stdout
    assert not list(tmp_path.iterdir())


def test_ui_without_a_record_is_refused(tmp_path):
    done = sweeps("ui", cwd=tmp_path)
    assert done.returncode == 2
    assert "sweeps run" in done.stderr
