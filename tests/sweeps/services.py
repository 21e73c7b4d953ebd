"""Servers and Ray nodes that tests start as processes of their own and end by id."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from command import ENV, ROOT, unused_port
from mlflow import MlflowClient

RAY = str(Path(sys.executable).with_name("ray"))
# A node that is gone is noticed in seconds; no usage reports.
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "8",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUNBUFFERED": "1",  # for `is_up`
}

# Of this session only: a password that stood here would stand in the diff of uncommitted code.
USERNAME, PASSWORD = "admin", f"correct horse {secrets.token_hex(8)}"
AUTH = {"MLFLOW_TRACKING_USERNAME": USERNAME, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


class Service:
    """A command, running with all that it starts, its output in a file."""

    def __init__(self, words, *, cwd, env):
        self.log = Path(cwd) / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, cwd=cwd, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self):
        """End it and everything it started with -9."""
        end(tree(self.process.pid))
        self.process.wait()


def tree(pid):
    """A process and all that it started, what outlived its own parent in its session too."""
    parents, sessions = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may be gone by now
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            sessions[int(stat.parent.name)] = int(fields[3])
    processes = [pid, *(one for one, session in sessions.items() if session == pid != one)]
    for one in processes:
        processes += [c for c, parent in parents.items() if parent == one and c not in processes]
    return processes


def end(pids):
    """Kill them with -9, those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def alive(pids):
    """Processes that have not ended; a zombie counts as ended."""
    states = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            states[pid] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return [pid for pid, state in states.items() if state != "Z"]


def until(condition, seconds, what):
    """Wait for a condition, or fail naming it."""
    for _ in range(int(seconds * 5)):
        if condition():
            return
        time.sleep(0.2)
    raise TimeoutError(what)


def answers(port):
    """True if a process listens on this port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_up(node):
    """True if `ray start` has printed that its node runs."""
    return "Ray runtime started" in node.log.read_text()


def nodes_of(address, env, before=()):
    """Return the number of nodes of the cluster at this address; asked by way of `before`.

    It takes a second of CPU: wait for `is_up` first.
    """
    script = ROOT / "sweeps/execution/ray_head.py"
    done = subprocess.run(
        [*before, sys.executable, "-P", script, address],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return len(json.loads(done.stdout)["nodes"]) if done.returncode == 0 else 0


# As the containers have it: without it MLflow computes a password's slow hash for every request.
KEEPING_LOGINS = {"MLFLOW_AUTH_CONFIG_PATH": str(ROOT / "deploy/containers/mlflow_auth.ini")}


class MlflowServer:
    """An MLflow server with basic auth and proxied artifacts, as in docker-compose.yml."""

    def __init__(self, folder):
        self.folder, self.port = folder, unused_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        settings = {
            "MLFLOW_AUTH_ADMIN_USERNAME": USERNAME,
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a test's",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1"]
        command += [f"--port={self.port}", "--workers=1", "--app-name=basic-auth"]
        command += ["--backend-store-uri=sqlite:///record.db", "--serve-artifacts"]
        command += [f"--artifacts-destination={self.folder}/artifacts"]
        settings |= KEEPING_LOGINS
        self.process = Service(command, cwd=self.folder, env=ENV | settings)
        until(self._healthy, 120, "the MLflow server started")

    def _healthy(self):
        try:
            return requests.get(f"{self.uri}/health", timeout=1).ok
        except requests.RequestException:
            return False

    def stop(self):
        self.process.kill()

    def stop_during(self, sweep, mark):
        """Stop when a sweep has its first result; return what it prints from then on.

        Args:
            sweep: the command, running with the fixture `slow`.
            mark: the file that makes its trials sleep; it is removed then.
        """
        for line in sweep.stdout:
            if line.startswith("[1/"):
                self.stop()
                mark.unlink()
                break
        return sweep.communicate(timeout=200)[0]

    def client(self, monkeypatch):
        for name, value in AUTH.items():
            monkeypatch.setenv(name, value)
        return MlflowClient(self.uri)


class RayCluster:
    """A Ray head without CPUs and its workers, on this machine; a context manager.

    Its head takes jobs at `jobs`.
    """

    def __init__(self, port, **env):
        self.address = f"127.0.0.1:{port}"
        self.jobs = f"http://127.0.0.1:{unused_port()}"
        # Ray's nodes do not have the code of this checkout on their path.
        plain = {k: v for k, v in ENV.items() if k != "PYTHONPATH"}
        self.env = plain | QUICK | env
        self.nodes = {}

    def __enter__(self):
        # Ray's sockets need a short path.
        self._scratch = tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True)
        host, port = self.address.split(":")
        words = ["--head", f"--port={port}", f"--node-ip-address={host}", "--num-cpus=0"]
        words += [f"--temp-dir={self._scratch.name}", "--dashboard-host=127.0.0.1"]
        words += [f"--dashboard-port={self.jobs.rpartition(':')[2]}"]
        words += [f"--dashboard-agent-listen-port={unused_port()}"]
        try:
            self.start("head", *words)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, name, *words, before=(), **env):
        """Start a node, and wait until it has joined."""
        command = [*before, RAY, "start", "--block", "--disable-usage-stats", *words]
        self.nodes[name] = Service(command, cwd=self._scratch.name, env=self.env | env)
        # One after the other: three that start at once on one machine do not all get up.
        count = len(self.nodes)
        until(lambda: is_up(self.nodes[name]), 60, f"Ray node {name}")
        until(lambda: nodes_of(self.address, self.env) == count, 20, f"Ray node {name} joined")

    def worker(self, name, *, cpus=1, gpus=0, before=(), **env):
        """Start a worker that has a resource of its own name; its GPUs are logical."""
        own = json.dumps({name: 1})
        words = [f"--address={self.address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        words += [f"--resources={own}"]
        self.start(name, *words, "--node-ip-address=127.0.0.1", before=before, **env)

    def __exit__(self, *raised):
        for node in reversed(self.nodes.values()):
            node.kill()
        self._scratch.cleanup()
