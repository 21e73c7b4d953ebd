"""docker-compose.yml's services, each by its own command, natively on this machine.

No engine is needed: hosts become loopback, ports unused ones, /data a folder; PostgreSQL
comes from Debian's packages.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from changes import changed
from command import ENV, ROOT, SMALL, runs, unused_port
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from services import QUICK, Service, answers, is_up, nodes_of, until

pytestmark = pytest.mark.services

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
BIN = Path(sys.executable).parent
SECRETS = {
    "POSTGRES_PASSWORD": "p@ss/w:rd of postgres",
    "MLFLOW_ADMIN_PASSWORD": "p@ss/w:rd of mlflow",
    "MLFLOW_SECRET_KEY": "a key of the forms",
    "RAY_TOKEN": "5ec7e7" * 8,
}


class Stack:
    """The services of the compose file, as processes of this machine."""

    def __init__(self, root):
        self.root, self.running = Path(root), []
        self.server_of_mlflow = None
        self.ray, self.mlflow, self.postgres, self.node = (unused_port() for _ in range(4))
        plain = {k: v for k, v in ENV.items() if k != "PYTHONPATH"}
        # `mlflow`, `ray` and `sweeps` as in the image: on the path.
        self.env = plain | QUICK | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def here(self, text, name):
        """A word of the compose file, adapted to this machine."""
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: SECRETS[m[1]], text)
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        places = {
            "ray-head:6379": f"127.0.0.1:{self.ray}",
            "--port=6379": f"--port={self.ray}",
            "localhost:6379": f"127.0.0.1:{self.ray}",
            "localhost:6380": f"127.0.0.1:{self.node}",
            "/app/deploy": str(ROOT / "deploy" / "containers"),
            "mlflow:5000": f"127.0.0.1:{self.mlflow}",
            "127.0.0.1:5000": f"127.0.0.1:{self.mlflow}",
            "--port=5000": f"--port={self.mlflow}",
            "postgres:5432": f"127.0.0.1:{self.postgres}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "/data": str(self.folder(name)),
            "$$": "$",
        }
        for there, here in places.items():
            text = text.replace(there, here)
        return text

    def folder(self, name):
        """Folder for a service's /data; the Ray nodes and the driver share one."""
        place = self.root / ("mlflow" if name == "mlflow" else "shared")
        place.mkdir(exist_ok=True)
        return place

    def environment(self, name):
        own = SERVICES[name].get("environment", {})
        return self.env | {key: self.here(str(value), name) for key, value in own.items()}

    def start(self, name, *more):
        """Start a service's command, with the settings that this machine needs."""
        words = [self.here(word, name) for word in SERVICES[name]["command"]]
        words = [sys.executable if word == "python" else word for word in words]
        made = Service([*words, *more], cwd=self.folder(name), env=self.environment(name))
        self.running.append(made)
        return made

    def healthy(self, name):
        """True if the service's health check succeeds."""
        kind, *words = (self.here(w, name) for w in SERVICES[name]["healthcheck"]["test"])
        assert kind == "CMD"
        words = [sys.executable if word == "python" else word for word in words]
        env = self.environment(name)
        return subprocess.run(words, env=env, capture_output=True, check=False).returncode == 0

    def start_postgres(self):
        """Create the database, user and password, as PostgreSQL's image does."""
        (binaries,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        data, user = self.root / "postgres", pwd.getpwnam("postgres")
        asked = self.environment("postgres")
        data.mkdir()
        (data / "password").write_text(asked["POSTGRES_PASSWORD"])
        for path in (data, data / "password"):
            os.chown(path, user.pw_uid, user.pw_gid)
        self.root.chmod(0o755)
        become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        init = [binaries / "initdb", "-D", data / "db", "--auth=scram-sha-256", "--no-sync"]
        init += [f"--username={asked['POSTGRES_USER']}", f"--pwfile={data / 'password'}"]
        subprocess.run([*become, *init], check=True, capture_output=True, cwd="/")
        words = [*become, binaries / "postgres", "-D", data / "db", "-p", str(self.postgres)]
        self.server = [*words, "-c", "listen_addresses=127.0.0.1", "-k", data]
        self.serve_postgres()
        self.query(f"CREATE DATABASE {asked['POSTGRES_DB']}", "postgres")

    def serve_postgres(self):
        """Start the server on existing data."""
        self.database = Service(self.server, cwd=self.root, env=self.env)
        self.running.append(self.database)
        until(lambda: self.query("SELECT 1", "postgres") == "1", 30, "PostgreSQL")

    def query(self, sql, database="mlflow"):
        words = ["psql", "-h", "127.0.0.1", "-p", str(self.postgres), "-U", "mlflow"]
        env = self.env | {"PGPASSWORD": SECRETS["POSTGRES_PASSWORD"]}
        words += ["-d", database, "-tAc", sql]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def launched(self, *overrides, **env):
        """Start the one-shot service with this command."""
        entry = [self.here(word, "sweeps") for word in SERVICES["sweeps"]["entrypoint"]]
        env = self.environment("sweeps") | {"PYTHONPATH": str(ROOT)} | env
        words = [*entry, *overrides]
        service = Service(words, cwd=self.folder("sweeps"), env=env)
        self.running.append(service)
        return service

    def launch(self, *overrides):
        """Run the one-shot service with this command to its end."""
        service = self.launched(*overrides)
        return service.process.wait(timeout=150), service.log.read_text()

    def client(self, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS["MLFLOW_ADMIN_PASSWORD"])
        return MlflowClient(f"http://127.0.0.1:{self.mlflow}")

    def stop(self):
        for one in reversed(self.running):
            one.kill()


@pytest.fixture(scope="module")
def stack():
    """All services, started in the order of `depends_on`."""
    if not shutil.which("psql") or not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if os.geteuid() != 0:
        pytest.skip("PostgreSQL runs as its own user, and only root may become that")
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as root:
        made = Stack(root)
        try:
            start_all(made)
            yield made
        finally:
            made.stop()


def start_all(stack):
    stack.start_postgres()
    stack.server_of_mlflow = stack.start("mlflow")
    little = ["--disable-usage-stats"]
    address = f"127.0.0.1:{stack.ray}"
    node = stack.start(
        "ray-head", "--include-dashboard=false", f"--temp-dir={stack.root}/r", *little
    )
    for nodes, name in ((1, None), (2, "ray-worker"), (3, "ray-worker")):
        if name:
            port = stack.node if nodes == 2 else unused_port()
            node = stack.start(name, "--num-cpus=1", f"--node-manager-port={port}", *little)
        env = stack.environment("ray-worker")
        until(lambda: is_up(node), 60, f"Ray node {nodes}")  # noqa: B023
        until(lambda: nodes_of(address, env) == nodes, 30, f"{nodes} Ray nodes")  # noqa: B023
    assert stack.healthy("ray-head")
    assert stack.healthy("ray-worker")
    until(lambda: answers(stack.mlflow), 60, "MLflow")
    until(lambda: stack.healthy("mlflow"), 10, "MLflow's API")


def test_a_sweep_against_all_services(stack, monkeypatch):
    code, output = stack.launch("run", *SMALL, "seed=range(0,4)", "cluster=ray", "tracking=server")
    assert code == 0, output
    api = stack.client(monkeypatch)
    parents, trials = runs(api)
    assert [run.info.status for run in parents + trials] == ["FINISHED"] * 5
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == 4
    assert stack.query("SELECT count(*) FROM runs WHERE status = 'FINISHED'") == "5"
    assert len(list((stack.folder("mlflow") / "artifacts").rglob("trajectory.parquet"))) == 4
    (path,) = (stack.folder("sweeps") / "outputs").glob("ledger.db")
    assert path.stat().st_size > 0
    output = json.loads(
        Path(api.download_artifacts(trials[0].info.run_id, "environment.json")).read_text()
    )
    assert output["packages"]["ray"]
    for folder in (stack.folder("mlflow"), stack.folder("sweeps")):
        for file in (p for p in folder.rglob("*") if p.is_file()):
            text = file.read_bytes()
            for name, secret in SECRETS.items():
                assert secret.encode() not in text, f"{name} in {file}"


def test_the_database_restarts_in_the_middle_of_a_sweep(stack, tmp_path, monkeypatch):
    """It is killed and restarted: no result is missing or duplicated."""
    count = "SELECT count(*) FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid WHERE"
    count += " t.key = 'sweeps.kind' AND t.value = 'trial' AND r.lifecycle_stage = 'active'"
    before = int(stack.query(count))
    long = ["data.n=8", "model.width=16", "train.steps=400", "train.loss_tol=0"]
    long += ["diagnostics.every=100"]
    to = ["cluster=ray", "tracking=server", "study=restart", "seed=range(0,8)", "pack=1"]
    soon = changed(tmp_path / "changes", driver__outbox="RETRY_AFTER = 2.0")
    sweep = stack.launched("run", *long, *to, **soon)
    until(lambda: int(stack.query(count)) > before, 90, "a trial in the database")
    stack.database.kill()
    time.sleep(3)
    stack.serve_postgres()
    assert int(stack.query(count)) < before + 8  # it was in the middle
    code = sweep.process.wait(timeout=150)
    log = sweep.log.read_text()
    assert code == 0, log
    assert "Traceback" not in log
    if "sweeps sync" in log:  # it ended before MLflow had a database again
        assert stack.launch("sync", "tracking=server")[0] == 0
    parents, trials = runs(stack.client(monkeypatch), "restart")
    assert [run.info.status for run in parents + trials] == ["FINISHED"] * 9
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == 8
    for run in trials:
        points = stack.client(monkeypatch).get_metric_history(run.info.run_id, "train/loss")
        assert len({point.step for point in points}) == len(points) > 20
    assert int(stack.query(count)) == before + 8
    assert stack.query("SELECT count(*) FROM runs WHERE status = 'RUNNING'") == "0"


def test_a_changed_password_of_the_administrator_is_taken_over(stack, monkeypatch):
    """It is the last test: the server is another one afterwards."""
    stack.server_of_mlflow.kill()
    assert not stack.healthy("mlflow")
    before = stack.client(monkeypatch)
    monkeypatch.setitem(SECRETS, "MLFLOW_ADMIN_PASSWORD", "another p@ss/w:rd")
    stack.start("mlflow")
    until(lambda: stack.healthy("mlflow"), 60, "MLflow's API")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p@ss/w:rd of mlflow")
    with pytest.raises(MlflowException, match="authenticated"):
        before.search_experiments()
    assert len(stack.client(monkeypatch).search_experiments()) >= 2
