"""Two machines, as network namespaces: one is cut off in the middle of a sweep."""

import contextlib
import os
import subprocess
import sys

import pytest
from changes import changed
from command import ENV, client, runs
from services import QUICK, RAY, Service, is_up, nodes_of, until

pytestmark = pytest.mark.services

NET = "10.213.77"
HEAD, FAR = f"{NET}.1", f"{NET}.2"
# A host that says nothing is given up in seconds, and a call to it as soon.
IMPATIENT = {
    "RAY_health_check_failure_threshold": "3",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "7f3d" * 16,
    "RAY_grpc_keepalive_time_ms": "1000",
    "RAY_grpc_keepalive_timeout_ms": "2000",
    "RAY_grpc_client_keepalive_time_ms": "1000",
    "RAY_grpc_client_keepalive_timeout_ms": "2000",
}


def ip(*words, check=True):
    """The `ip` command."""
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Two hosts on one wire; the names of their namespaces."""
    names = [f"sweeps-{os.getpid()}-{end}" for end in ("near", "far")]
    try:
        made = [ip("netns", "add", name, check=False) for name in names]
    except FileNotFoundError:
        pytest.skip("there is no `ip` command (Debian: apt-get install iproute2)")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.callback(ip, "netns", "del", name, check=False)
        if any(done.returncode for done in made):
            pytest.skip(f"no network namespaces here: {made[0].stderr.strip()}")
        near, far = names
        ip("link", "add", "veth-s", "netns", near, "type", "veth", "peer", "veth-s", "netns", far)
        for name, address in ((near, HEAD), (far, FAR)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "veth-s")
            for device in ("lo", "veth-s"):
                ip("-n", name, "link", "set", device, "up")
        yield near, far


@pytest.fixture
def cluster(hosts, short):
    """A Ray head with a CPU on one host and a worker with one on the other."""
    env = {k: v for k, v in ENV.items() if k != "PYTHONPATH"} | QUICK | IMPATIENT
    near, far = hosts
    plain = [RAY, "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
    started = []

    def start(host, *words):
        command = ["ip", "netns", "exec", host, *plain, *words]
        started.append(Service(command, cwd=short, env=env))
        until(lambda: is_up(started[-1]), 60, f"Ray on {host}")

    try:
        start(
            near,
            *("--head", "--port=6379", f"--node-ip-address={HEAD}"),
            *("--include-dashboard=false", f"--temp-dir={short}/r"),
        )
        until(lambda: nodes(near, env) == 1, 60, "the head")
        start(far, f"--address={HEAD}:6379", f"--node-ip-address={FAR}")
        until(lambda: nodes(near, env) == 2, 60, "the other host")
        yield env
    finally:
        for service in reversed(started):
            service.kill()


def nodes(host, env):
    return nodes_of(f"{HEAD}:6379", env, before=["ip", "netns", "exec", host])


def test_a_host_that_is_cut_off_costs_nothing(hosts, cluster, tmp_path):
    """It does not die, it is silent: its trial is trained again on the other."""
    near, far = hosts
    words = ["run", "data.n=8", "model.width=16", "train.steps=800", "train.loss_tol=0"]
    words += ["diagnostics.every=100", "seed=range(0,6)", "pack=1", "cluster=ray"]
    words += [f"cluster.address={HEAD}:6379", "cluster.max_retries=0"]
    command = ["ip", "netns", "exec", near, sys.executable, "-m", "sweeps", *words]
    soon = changed(tmp_path / "changes", execution__retry="NOTICED = 10.0")
    sweep = Service(command, cwd=tmp_path, env=ENV | cluster | soon)
    try:
        until(lambda: "[2/6]" in sweep.log.read_text(), 120, "two trials")
        ip("-n", far, "link", "set", "veth-s", "down")
        code = sweep.process.wait(timeout=150)
    finally:
        sweep.kill()
    log = sweep.log.read_text()
    assert code == 0, log
    assert "Traceback" not in log
    api = client(tmp_path / "outputs")
    parents, trials = runs(api)
    assert [run.info.status for run in parents + trials] == ["FINISHED"] * 7
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == 6
    for run in trials:
        steps = [point.step for point in api.get_metric_history(run.info.run_id, "train/loss")]
        assert steps == sorted(set(steps))
        assert steps[0] == 0
        assert len(steps) > 20
