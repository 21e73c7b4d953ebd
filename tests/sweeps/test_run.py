"""Sweeps from the command line to MLflow."""

import json
import shutil
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest
from command import SMALL, client, inside, runs, started, sweeps, unused_port
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from sweeps import metrics
from sweeps.storage.record import columns_of
from sweeps.tracking import artifacts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """One sweep of four trials, on Ray."""
    where = tmp_path_factory.mktemp("sweep")
    words = ["run", *SMALL, "model.activation=relu,tanh", "seed=range(0,2)"]
    done = sweeps(*words, "cluster.cpus_per_trial=2", cwd=where, full=True)
    assert done.returncode == 0, done.stderr
    return where, done


def test_a_sweep_prints_its_table_and_its_links(recorded):
    _, done = recorded
    for word in ("measured/bound", "lambda_0/m", "relu seed=0", "tanh seed=1", "sweeps ui"):
        assert word in done.stdout
    assert "workflowType=machine_learning" in done.stdout
    assert "Traceback" not in done.stderr


def test_links_lead_to_the_port_of_the_ui(tmp_path):
    words = ["run", *SMALL, "cluster=inline"]
    done = inside(*words, "tracking.public_url=http://127.0.0.1:5613", cwd=tmp_path)
    assert "To browse: sweeps ui --port 5613, then open\n" in done.stdout, done.stderr
    assert "  http://127.0.0.1:5613/#/experiments/" in done.stdout
    assert ":5000" not in done.stdout


def test_the_store_has_the_contracts_names(recorded):
    where, _ = recorded
    parents, trials = runs(client(where / "outputs"))
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
            "curve/loss",
            "curve/loss_linearized",
            "curve/loss_bound",
            "curve/lambda_ratio",
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
        # docs/reference.md lists what is recorded: no more, no less (windows have their own).
        stepped = {column.metric for column in metrics.COLUMNS if column.metric}
        stepped |= {curve.name for curve in metrics.CURVES}
        summary = {metric.name for metric in metrics.SUMMARY}
        absent = {"solver/window_check", "train/stopped_at", "theory/networks_drawn"}
        absent |= {m.name for m in metrics.SUMMARY if m.name.startswith("test/")}
        asked = (
            "depth_",
            "kernel_gap",
            "output_",
            "gram_diagonal",
            "equivalent_",
            "shallow_",
        )  # by diagnostics
        parts = tuple(f"theory/{name}" for name in asked)
        absent |= {m.name for m in metrics.SUMMARY if m.name.startswith(parts)}
        absent |= {f"solver/{name}" for name in ("crossing", "sliding", "undecided")}
        # of data.labels=single_index only
        absent |= {f"rate/{name}single_index" for name in ("", "measured_end_over_")}
        absent.add("theory/minimum_distance")
        if run.data.params["model.activation"] == "relu":
            absent.add("theory/c_a_bounded")  # of bounded activations only
        measured = {name for name in run.data.metrics if not name.startswith(metrics.SYSTEM)}
        assert measured == stepped | summary - absent
        assert {tag for tag in tags if tag.startswith("sweeps.")} == set(artifacts.TAGS)
        assert names == {*artifacts.ARTIFACTS} - {artifacts.WEIGHTS}
        file = api.download_artifacts(run.info.run_id, artifacts.TRAJECTORY)
        columns = columns_of(Path(file).read_bytes())
        assert list(columns) == [column.name for column in metrics.COLUMNS]
        history = api.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == list(range(31))
    assert len({run.info.run_name for run in trials}) == 4
    assert {"rate/measured/relu", "rate/measured/tanh"} <= set(parents[0].data.metrics)
    assert "measured" in parents[0].data.tags["mlflow.note.content"]


def test_the_same_command_again_trains_nothing_and_a_wider_grid_only_the_new(recorded):
    where, _ = recorded
    same = inside("run", *SMALL, "model.activation=relu,tanh", "seed=range(0,2)", cwd=where)
    assert same.returncode == 0
    assert "nothing to do" in same.stdout
    assert [len(part) for part in runs(client(where / "outputs"))] == [1, 4]
    plan = inside(
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


def test_the_output_root_can_be_moved(recorded, tmp_path):
    where, _ = recorded
    shutil.copytree(where / "outputs", tmp_path / "outputs")
    done = inside("run", *SMALL, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0
    _, trials = runs(client(tmp_path / "outputs"))
    for run in trials:
        assert str(tmp_path) in run.info.artifact_uri
        assert client(tmp_path / "outputs").list_artifacts(run.info.run_id)


def test_a_trial_that_raises_fails_alone(tmp_path):
    """The theorem's step size does not exist where L ||W||_2 >= 1: training fails.

    A trial that raises on a Ray worker is in test_secrets.py.
    """
    words = ["run", *SMALL, "model.sigma_w2=0.2", "model.allow_ill_posed=true"]
    words += ["train.eta_unit=theorem,tangent", "cluster=inline"]
    done = inside(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "eta_unit=theorem failed: ValueError: train.eta_unit=theorem needs" in done.stdout
    parents, trials = runs(client(tmp_path / "outputs"))
    assert [run.data.params["train.eta_unit"] for run in trials] == ["tangent"]
    assert parents[0].info.status == "FAILED"
    again = inside(*words, cwd=tmp_path)
    assert again.returncode == 1
    assert "1 failed before" in again.stdout
    assert "0 to train" in again.stdout
    assert "1 to train" in inside(*words, "--dry-run", "--retry-failed", cwd=tmp_path).stdout


def test_a_trial_whose_networks_are_all_rejected_has_a_result(tmp_path):
    """No network of this size meets the conditions: the outcome, until more draws are allowed."""
    words = ["run", *SMALL, "cluster=inline", "model.init=redraw", "seed=0,1"]
    few = [*words, "model.max_draws=2"]
    done = inside(*few, cwd=tmp_path)
    assert (done.returncode, "2 failed" in done.stdout) == (0, False), done.stderr
    (parent,), trials = runs(client(tmp_path / "outputs"))
    assert {run.data.tags["sweeps.status"] for run in trials} == {"rejected"}
    assert {run.info.status for run in (parent, *trials)} == {"FINISHED"}
    assert {run.data.metrics["theory/networks_drawn"] for run in trials} == {2.0}
    note = trials[0].data.tags["mlflow.note.content"]
    assert "none of 2 networks of seed" in note
    assert "0 to train" in inside(*few, "--dry-run", cwd=tmp_path).stdout
    fewer = [*words, "model.max_draws=1"]
    assert "0 to train" in inside(*fewer, "--dry-run", cwd=tmp_path).stdout
    more = [*words, "model.max_draws=3"]
    assert "2 to train" in inside(*more, "--dry-run", cwd=tmp_path).stdout
    assert inside(*more, cwd=tmp_path).returncode == 0
    assert "0 to train" in inside(*more, "--dry-run", cwd=tmp_path).stdout
    _, trials = runs(client(tmp_path / "outputs"))
    assert [run.data.metrics["theory/networks_drawn"] for run in trials] == [3.0, 3.0]


def test_packed_trials_are_recorded_one_by_one(tmp_path):
    done = inside("run", *SMALL, "cluster=inline", "pack=3", "seed=range(0,3)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(runs(client(tmp_path / "outputs"))[1]) == 3


def test_another_study_reuses_the_training(tmp_path):
    first = inside("run", *SMALL, "cluster=inline", cwd=tmp_path)
    second = inside("run", *SMALL, "cluster=inline", "study=other", cwd=tmp_path)
    assert first.returncode == second.returncode == 0
    assert "nothing to do" in second.stdout
    assert len(runs(client(tmp_path / "outputs"), "other")[1]) == 1


@pytest.fixture(scope="module")
def forbidding_server():
    """A server that answers every request with 403, as MLflow does for an unknown host."""

    class Forbidden(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forbidden) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "words",
    [
        ["model.widht=3"],
        ["model.width=0"],
        ["model.width=1000000"],
        ["experiment=nope"],
        ["tracking=server"],
        ["tracking=server", "tracking.uri=@dead"],
        ["tracking=server", "tracking.uri=@forbidden"],
        ["--no-such-flag"],
    ],
)
def test_a_wrong_command_starts_and_writes_nothing(words, tmp_path, forbidding_server):
    words = [w.replace("@dead", f"http://127.0.0.1:{unused_port()}") for w in words]
    words = [w.replace("@forbidden", forbidding_server) for w in words]
    done = inside("run", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_show_and_dry_run_write_nothing(tmp_path):
    shown = inside("show", "model.width=8,16", cwd=tmp_path)
    assert "model.width:\n  - 8\n  - 16\n" in shown.stdout
    resolved = inside("show", "--resolve", "model.width=8,16", cwd=tmp_path)
    assert resolved.stdout.count("width:") == 2
    hashes = inside("show", "--hash", cwd=tmp_path)
    assert len(hashes.stdout.strip()) == 64
    planned = inside("run", "experiment=quickstart", "--dry-run", cwd=tmp_path)
    assert "12 to train" in planned.stdout
    assert not list(tmp_path.iterdir())


def test_ui_without_a_record_is_refused(tmp_path):
    done = inside("ui", cwd=tmp_path)
    assert done.returncode == 2
    assert "sweeps run" in done.stderr


def test_force_trains_again_and_leaves_one_run(tmp_path):
    words = ["run", *SMALL, "cluster=inline"]
    inside(*words, cwd=tmp_path)
    (before,) = runs(client(tmp_path / "outputs"))[1]
    again = inside(*words, "--force", cwd=tmp_path)
    assert "1 to train" in again.stdout
    (after,) = runs(client(tmp_path / "outputs"))[1]
    assert after.info.run_id != before.info.run_id
    assert after.data.metrics["train/loss"] == before.data.metrics["train/loss"]


def test_force_loses_no_result_when_mlflow_dies(tmp_path, monkeypatch):
    words = ["run", *SMALL, "cluster=inline", "seed=1,2"]
    inside(*words, cwd=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "delete_run", mock.Mock(side_effect=MlflowException("away")))
        forced = inside(*words, "--force", cwd=tmp_path)
    assert forced.returncode == 2
    (line,) = forced.stderr.splitlines()
    assert "did not take the deletion of runs: away" in line
    assert "all 2 trials finished before" in inside(*words, cwd=tmp_path).stdout
    assert len(runs(client(tmp_path / "outputs"))[1]) == 2


@pytest.mark.parametrize(
    ("stop", "cluster"), [(signal.SIGINT, "inline"), (signal.SIGTERM, "local")]
)
def test_an_interrupted_sweep_closes_its_run_and_the_same_command_continues(
    stop, cluster, tmp_path, slow
):
    words = ["run", *SMALL, f"cluster={cluster}", "train.loss_tol=0", "seed=range(0,12)"]
    words += ["tracking.live_seconds=0"]  # a slow trial would have a run before it has ended
    with started(*words, cwd=tmp_path, **slow) as process:
        for line in process.stdout:
            if line.startswith("[2/12]"):
                process.send_signal(stop)
                break
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr  # nothing trains on a Ray that has been left
    parents, trials = runs(client(tmp_path / "outputs"))
    assert [run.info.status for run in parents] == ["KILLED"]
    assert 2 <= len(trials) < 12
    assert {run.info.status for run in trials} == {"FINISHED"}
    plan = json.loads(inside(*words, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert sum(trial["finished"] for trial in plan["trials"]) == len(trials)
    done = inside(*words, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{len(trials)} finished before" in done.stdout
    parents, trials = runs(client(tmp_path / "outputs"))
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == len(trials) == 12


def test_a_driver_that_died_leaves_nothing_running(tmp_path, slow):
    words = ["run", *SMALL, "cluster=inline", "seed=range(0,20)"]
    words += ["tracking.live_seconds=0"]  # a slow trial would have a run before it has ended
    with started(*words, cwd=tmp_path, **slow) as process:
        for line in process.stdout:
            if line.startswith("[2/20]"):
                process.kill()
                break
        process.communicate(timeout=60)
    assert inside("sync", cwd=tmp_path).returncode == 0
    parents, trials = runs(client(tmp_path / "outputs"))
    assert [run.info.status for run in parents] == ["KILLED"]
    assert len(trials) >= 2
    assert {run.info.status for run in trials} == {"FINISHED"}
