"""Sweeps on an existing Ray cluster: joining with a token, refusals, loss of a node."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from changes import changed
from command import ROOT, SMALL, client, inside, runs, started, sweeps, unused_port
from services import RAY, RayCluster, until

from sweeps.config.launch import ClusterConfig
from sweeps.errors import ClusterLostError, ConfigError
from sweeps.execution import executor, head_watch, ray_address, resources
from sweeps.execution.git import code_version
from sweeps.execution.ray_address import check_address
from sweeps.execution.resources import fits, local_workers, places, too_much

pytestmark = pytest.mark.services

TOKEN = "7f3d" * 16
AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
OWN = """import torch

import deq

wave = deq.Activation("wave", torch.sin, torch.cos, 1.0, 1.0, 0.0, True)
"""


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """A folder whose content the node `b` does not see."""
    return tmp_path_factory.mktemp("hidden")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, hidden):
    """Two usable nodes a and b, and one that reports another torch."""
    old = tmp_path_factory.mktemp("old")
    (old / "torch-2.12.0.dist-info").mkdir()
    (old / "torch-2.12.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.12.0\n"
    )
    with RayCluster(unused_port(), **AUTH) as made:
        made.worker("old", PYTHONPATH=str(old))
        made.worker("a")
        cover = f'mount -t tmpfs none "{hidden}" && exec "$@"'
        made.worker("b", before=["unshare", "-m", "sh", "-c", cover, "-"] if can_mount() else [])
        yield made


def can_mount():
    """True if a process may have its own mounts on this machine."""
    done = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return done.returncode == 0


def words(cluster, *more):
    return ["run", *SMALL, "cluster=ray", f"cluster.address={cluster.address}", *more]


def test_a_sweep_submitted_as_a_job_of_the_cluster(cluster, tmp_path):
    """The cluster's own driver launches it and finds the head."""
    asked = [*SMALL, "seed=0,1", "cluster=ray", "+cluster.resources.a=0.5"]
    asked += [f"paths.output={tmp_path / 'outputs'}"]
    run = f'cd "{ROOT}" && "{sys.executable}" -m sweeps run {" ".join(asked)}'
    job = ["job", "submit", f"--address={cluster.jobs}", "--", "sh", "-c", run]
    done = subprocess.run(
        [RAY, *job], env=cluster.env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parents, trials = runs(client(tmp_path / "outputs"))
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert [run.info.status for run in trials] == ["FINISHED"] * 2


def test_a_sweep_on_a_cluster(cluster, tmp_path):
    """The nodes lack the code; custom resources are used; the token appears nowhere."""
    (tmp_path / "own.py").write_text(OWN)
    asked = ["seed=0,1", "model.activation=tanh,own:wave", "pack=2"]
    asked += ["+cluster.resources.a=0.5", "cluster.memory_gb_per_trial=0.1"]
    done = sweeps(*words(cluster, *asked), cwd=tmp_path, **AUTH)
    assert done.returncode == 0, done.stderr
    api = client(tmp_path / "outputs")
    parents, trials = runs(api)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert [run.info.status for run in trials] == ["FINISHED"] * 4
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == 4
    for run in trials:
        path = api.download_artifacts(run.info.run_id, "environment.json")
        result = json.loads(Path(path).read_text())
        assert result["code"] == code_version()
        history = api.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == list(range(31))
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in done.stdout + done.stderr


@contextlib.contextmanager
def mute():
    """A socket that listens and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        yield f"127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize(
    ("given", "message"), [("", "RAY_ADDRESS"), ("ray://here:10001", "HOST:PORT")]
)
def test_an_invalid_address_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        check_address(given)


def test_an_address_that_is_no_ray_head_is_given_up(monkeypatch):
    """Ray's own client would wait for 40 s and write to stderr."""
    monkeypatch.setattr(ray_address, "ANSWER", 3)
    with mute() as silent, pytest.raises(ConfigError, match="as a Ray head does"):
        check_address(silent)


def test_an_address_that_does_not_answer_is_refused_within_seconds(tmp_path):
    begun = time.monotonic()
    place = f"127.0.0.1:{unused_port()}"
    done = inside("run", "cluster=ray", f"cluster.address={place}", cwd=tmp_path)
    assert time.monotonic() - begun < 30
    assert_refused(done, "cluster=local")
    assert not list(tmp_path.iterdir())


def assert_refused(done, message):
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("token", [{}, AUTH | {"RAY_AUTH_TOKEN": "wrong" * 10}])
def test_a_missing_token_is_refused(cluster, token, tmp_path):
    done = inside(*words(cluster), cwd=tmp_path, **token)
    assert_refused(done, "RAY_AUTH_TOKEN")
    assert "wrongwrong" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_node_with_another_version_is_refused(cluster, tmp_path):
    done = sweeps(*words(cluster, "+cluster.resources.old=1"), cwd=tmp_path, **AUTH)
    assert_refused(done, "torch 2.13.0 here, 2.12.0 there")
    assert client(tmp_path / "outputs").search_runs(["0", "1"]) == []


def test_resources_that_no_node_has_are_refused():
    nodes = [{"CPU": 1.0, "memory": 8e9}, {"CPU": 4.0, "memory": 2e9, "spot": 1.0}]
    for config, fit in (
        (ClusterConfig(), [True, True]),
        (ClusterConfig(cpus_per_trial=2), [False, True]),
        (ClusterConfig(memory_gb_per_trial=4), [True, False]),
        (ClusterConfig(resources={"spot": 0.5}), [False, True]),
        (ClusterConfig(gpus_per_trial=0.5), [False, False]),
    ):
        assert [fits(config, node) for node in nodes] == fit
    message = too_much(ClusterConfig(gpus_per_trial=0.5), nodes)
    assert "(cpu 1, gpu 0.5)" in message
    assert "cpu 4, gpu 0, memory 8 GB" in message
    large = too_much(ClusterConfig(memory_gb_per_trial=4000), [{"CPU": 2.0, "memory": 16e9}])
    assert "(cpu 1, memory 4 TB); the most that one has is cpu 2, gpu 0, memory 16 GB:" in large


def test_a_cluster_whose_nodes_have_not_joined_yet_is_waited_for(monkeypatch):
    """Its head is up again before its workers are; a cluster with a CPU is judged at once."""
    head, worker = {"CPU": 0.0, "memory": 1e9}, {"CPU": 2.0, "memory": 1e9}
    looks = iter([[head], [head], [head, worker]])
    monkeypatch.setattr(executor, "ASK_EVERY", 0.0)
    monkeypatch.setattr(ray_address, "check_address", lambda address: next(looks))
    config = ClusterConfig(name="ray", address="here:1")
    with pytest.raises(ConfigError, match="no node has what a trial asks for"):
        executor.check_cluster(config)
    assert executor.check_cluster(config, wait=True) == 2
    monkeypatch.setattr(ray_address, "check_address", lambda address: [head, worker])
    with pytest.raises(ConfigError, match="cpu 4"):
        executor.check_cluster(replace(config, cpus_per_trial=4), wait=True)


def test_a_node_that_fits_is_waited_for_as_long_as_asked(monkeypatch):
    """A GPU node pulls its image while a node without GPUs is there already."""
    node, gpu = {"CPU": 4.0, "memory": 1e9}, {"CPU": 4.0, "GPU": 1.0, "memory": 1e9}
    looks = iter([[node], [node], [node, gpu]])
    monkeypatch.setattr(executor, "ASK_EVERY", 0.0)
    monkeypatch.setattr(ray_address, "check_address", lambda address: next(looks))
    config = ClusterConfig(name="ray", address="here:1", gpus_per_trial=1)
    with pytest.raises(ConfigError, match="gpu 1"):
        executor.check_cluster(config, wait=True)
    assert executor.check_cluster(replace(config, wait_seconds=1e9), wait=True) == 1


@pytest.mark.parametrize(
    "words", [["cluster=ray", "cluster.wait_seconds=-1"], ["cluster.wait_seconds=5"]]
)
def test_a_wait_that_means_nothing_is_refused(words, tmp_path):
    done = inside("run", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "wait_seconds" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_packs_are_counted_by_the_scarcest_resource():
    """A fraction of a GPU lies on one GPU: three of 0.4 do not fit on two."""
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 8e9, "spot": 1.0}
    for given, count in (
        ({}, 8),
        ({"cpus_per_trial": 3}, 2),
        ({"gpus_per_trial": 1}, 2),
        ({"gpus_per_trial": 2}, 1),
        ({"gpus_per_trial": 0.4}, 4),
        ({"gpus_per_trial": 0.6}, 2),
        ({"gpus_per_trial": 0.1}, 8),
        ({"memory_gb_per_trial": 4}, 2),
        ({"resources": {"spot": 0.1}}, 8),
        ({"resources": {"spot": 0.3}}, 3),
    ):
        assert places(ClusterConfig(**given), node) == count, given


def test_packs_of_this_machine_are_counted_by_its_gpus_too(monkeypatch):
    monkeypatch.setattr(resources, "gpu_count", lambda: 2)
    monkeypatch.setattr(resources.os, "cpu_count", lambda: 16)
    for given, count in (({}, 16), ({"gpus_per_trial": 1}, 2), ({"gpus_per_trial": 0.5}, 4)):
        assert local_workers(ClusterConfig(**given)) == count
    assert local_workers(ClusterConfig(name="inline")) == 1
    assert local_workers(ClusterConfig(cpus_per_trial=99)) == 1


def test_a_node_that_does_not_see_the_output_root_is_refused(cluster, hidden):
    if not can_mount():
        pytest.skip("this process may not mount")
    done = sweeps(*words(cluster, "+cluster.resources.b=1"), cwd=hidden, **AUTH)
    assert_refused(done, "does not see paths.output")


def test_a_killed_node_loses_no_trial(cluster, tmp_path):
    """The other node trains its trial again. After this test b is gone."""
    asked = ["train.steps=800", "train.loss_tol=0", "diagnostics.every=100", "seed=range(0,6)"]
    asked += ["cluster.max_retries=0"]
    both = words(cluster, *asked)
    cluster.nodes["old"].kill()
    soon = changed(tmp_path / "changes", execution__retry="NOTICED = 12.0")
    with started(*both, cwd=tmp_path, **AUTH, **soon) as sweep:
        for line in sweep.stdout:
            if line.startswith("[2/6]"):
                cluster.nodes["b"].kill()
                break
        output = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, output[0][:900]
    api = client(tmp_path / "outputs")
    parents, trials = runs(api)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert Counter(run.info.status for run in trials) == {"FINISHED": 6}
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == 6
    for run in trials:
        steps = [p.step for p in api.get_metric_history(run.info.run_id, "train/loss")]
        assert steps == sorted(set(steps))
        assert steps[0] == 0
        assert len(steps) > 20


def test_a_sweep_whose_cluster_dies_ends_with_a_reason_and_goes_on_elsewhere(cluster, tmp_path):
    """This is the last test that uses the cluster: its head is gone."""
    asked = ["train.steps=1500", "train.loss_tol=0", "seed=0,1", "pack=1", "study=dead"]
    with started(*words(cluster, *asked), cwd=tmp_path, **AUTH) as sweep:
        for line in sweep.stdout:
            if line.startswith("Sweep"):
                break
        until(lambda: running(tmp_path), 60, "a trial in training")
        cluster.nodes["head"].kill()
        output = sweep.communicate(timeout=150)
    assert sweep.returncode == 1, output
    assert "Ray's head has ended; what is finished is recorded" in output[1]
    assert "Traceback" not in output[1]
    parents, trials = runs(client(tmp_path / "outputs"), "dead")
    assert [run.info.status for run in parents] == ["KILLED"]
    assert "RUNNING" not in [run.info.status for run in trials]
    there = ["cluster=ray", f"cluster.address={cluster.address}"]
    again = [word for word in words(cluster, *asked) if word not in there]
    done = inside(*again, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    parents, trials = runs(client(tmp_path / "outputs"), "dead")
    assert [run.info.status for run in parents + trials] == ["FINISHED"] * 3


@pytest.mark.parametrize(
    ("raised", "message"),
    [(ConnectionRefusedError, "head has ended"), (TimeoutError, "has not answered for 25 s")],
)
def test_a_head_that_ended_is_lost_at_once_and_a_silent_one_after_a_while(
    raised, message, monkeypatch
):
    """A connection that was refused once, or a head that answers again, is no loss."""
    clock, looks = [0.0], []
    monkeypatch.setattr(head_watch.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(head_watch, "_connect", lambda: looks.append(next(answers)()))

    def fine():
        return None

    def failing():
        raise raised

    watch, answers = head_watch.HeadWatch(), iter([fine, failing, fine, *[failing] * 100])

    def watched():
        for _ in range(100):
            clock[0] += head_watch.CHECK_EVERY
            watch.check()

    with pytest.raises(ClusterLostError, match=message):
        watched()
    assert len(looks) == 2
    assert clock[0] == 3 + (2 if raised is ConnectionRefusedError else 25)


def running(place):
    """True if `status` says that a trial is training."""
    done = inside("status", "--json", cwd=place)
    return done.returncode == 0 and '"running": 1' in done.stdout
