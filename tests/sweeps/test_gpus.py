"""Scheduling of trials on GPUs, on Ray's logical GPUs: this machine has no GPU.

Two nodes of 1 and 2 GPUs; the second one's are those that SLURM would have given it of eight.
"""

import json
import os
from collections import Counter
from dataclasses import replace
from importlib.metadata import version

import pytest
import ray
from command import SMALL, inside, unused_port
from services import RayCluster

from sweeps.config.launch import ClusterConfig
from sweeps.config.request import request
from sweeps.errors import ConfigError
from sweeps.execution import local_ray, ray_cluster
from sweeps.execution import tune as trainer
from sweeps.execution.events import Done, Note
from sweeps.execution.executor import check_cluster
from sweeps.execution.own_ray import OwnRay
from sweeps.execution.ray_cluster import ready
from sweeps.execution.settings import WorkerSettings
from sweeps.planning.plan import plan, trials_of

pytestmark = pytest.mark.services

ONE, TWO = {"one": 0.01}, {"two": 0.01}


@pytest.fixture(scope="module")
def cluster():
    with local_ray.closed():
        token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
        with RayCluster(unused_port(), **token) as made:
            made.worker("one", cpus=2, gpus=1)
            made.worker("two", cpus=4, gpus=2, CUDA_VISIBLE_DEVICES="4,5")
            yield made


@pytest.fixture(scope="module")
def fit(cluster, tmp_path_factory):
    """Train packs as the executor does, on a cluster that is joined once; return the messages.

    Trials train on the CPU, since torch has no GPU here; Ray gives them its GPUs all the same.
    """
    folder = tmp_path_factory.mktemp("outputs") / "sweeps" / "sweep"
    joined = ClusterConfig(name="ray", address=cluster.address)

    def trained(count, **resources):
        settings = WorkerSettings(device="cpu", threads=1)
        tune = trainer.Tune(replace(joined, **resources), folder, code, settings)
        return list(tune.fit(packs_of(count), 0))

    with ready(joined, packs_of(1), folder, OwnRay(), "cpu") as code:
        yield trained


def packs_of(count):
    asked = request([*SMALL, f"seed=range(0,{count})", "pack=1"])
    return plan(trials_of(asked), study="study", pack=1).packs


def probe(folder, together):
    """A stand-in of the function that Tune runs: it waits until so many of them have begun."""

    def observed(config, packs, versions, settings):
        import json
        import os
        import time
        from pathlib import Path

        import ray
        from ray import tune

        from sweeps.execution.events import Note

        own = Path(folder) / f"{config['pack']}.json"
        own.write_text("")
        until, most = time.monotonic() + 60, 0
        while time.monotonic() < until:
            begun = list(Path(folder).glob("*.json"))
            most = max(most, sum(not file.read_text() for file in begun))
            if len(begun) >= together:  # and a moment, for one too many of them
                until = min(until, time.monotonic() + 0.5)
            time.sleep(0.05)
        visible = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        node = ray.get_runtime_context().get_node_id()
        (own_resources,) = [one["Resources"] for one in ray.nodes() if one["NodeID"] == node]
        (name,) = {"one", "two"} & set(own_resources)
        seen = {"node": name, "gpus": ",".join(sorted(visible)), "together": most}
        (digest,) = packs[config["pack"]]
        tune.report({"messages": [Note(digest, json.dumps(seen))]})
        own.write_text("ended")

    return observed


@pytest.mark.parametrize(
    ("asked", "places"),
    [
        ({"gpus_per_trial": 0.5, "resources": ONE}, {"one 0": 2}),
        ({"gpus_per_trial": 1}, {"one 0": 1, "two 4": 1, "two 5": 1}),
        ({"gpus_per_trial": 2}, {"two 4,5": 1}),
    ],
)
def test_each_worker_sees_the_gpus_that_it_was_given(fit, tmp_path, monkeypatch, asked, places):
    """As many packs train at a time as have room; one more waits for a place."""
    together = sum(places.values())
    monkeypatch.setattr(trainer, "_trainable", probe(tmp_path, together))
    messages = fit(together + 1, **asked)
    assert all(isinstance(message, Note) for message in messages), messages
    seen = [json.loads(note.text) for note in messages]
    assert max(one["together"] for one in seen) == together
    used = Counter(f"{one['node']} {one['gpus']}" for one in seen)
    assert set(used) == set(places)
    assert (used - Counter(places)).total() == 1


def test_a_trial_trains_where_a_logical_gpu_is(fit):
    messages = fit(1, gpus_per_trial=0.5, resources=TWO)
    (done,) = [message for message in messages if isinstance(message, Done)]
    assert done.record.device == "cpu"
    assert len(done.record.trajectory["loss"]) == 31


@pytest.mark.skipif("+cpu" not in version("torch"), reason="this torch is built for GPUs")
def test_a_node_whose_torch_is_built_for_the_cpu_is_refused(fit, tmp_path):
    """Before anything starts: every trial would fail on it."""
    with pytest.raises(ConfigError, match="its torch is built for the CPU"):
        ray_cluster._inspect(ray.nodes(), tmp_path, [], "cuda")
    ray_cluster._inspect(ray.nodes(), tmp_path, [], "cpu")


def words(cluster, root, *more):
    there = ["cluster=ray", f"cluster.address={cluster.address}", f"paths.output={root}"]
    return ["run", *SMALL, *there, *more]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["cluster.gpus_per_trial=3"], "(cpu 1, gpu 3); the most that one has is cpu 4, gpu 2,"),
        (["cluster.gpus_per_trial=2", "+cluster.resources.one=1"], "gpu 2, one 1"),
    ],
)
def test_a_trial_that_no_node_has_room_for_is_refused(cluster, tmp_path, asked, message):
    done = inside(*words(cluster, tmp_path / "root", *asked), cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no node has what a trial asks for" in line
    assert message in line
    assert not list(tmp_path.iterdir())


def test_the_workers_of_a_cluster_are_counted_by_its_gpus(cluster):
    config = ClusterConfig(name="ray", address=cluster.address, gpus_per_trial=0.6)
    assert check_cluster(config) == 3
