"""Faults of a long sweep; after each, nothing is missing, recorded twice or RUNNING."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from changes import changed, paced
from command import ENV, SMALL, assert_complete, client, inside, runs, started, sweeps
from own_wave import mark_trial, write_wave
from services import AUTH, alive, end, tree, until

pytestmark = pytest.mark.services

TRIAL = ["data.n=8", "model.width=16", "train.steps=40", "train.loss_tol=0"]
TRIAL += ["diagnostics.every=20"]


KILLS = """if mark.stem == "once":
    mark.unlink()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_killed_with_9(tmp_path, monkeypatch):
    """One trial always ends its worker, one the first time: the rest has results."""
    write_wave(tmp_path / "killer.py", KILLS)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [*SMALL, "model.activation=killer:wave", "seed=range(0,5)", "pack=2"]
    for seed, name in ((1, "always"), (2, "once")):
        mark_trial(tmp_path / f"{name}.mark", words, seed)
    # Ray's sockets would have too long a path under this TMPDIR.
    done = sweeps("run", *words, "cluster.max_retries=1", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "once.mark").exists()
    assert "seed=1 failed: its worker died" in done.stdout
    assert "its process was killed" in done.stdout
    retried = [line for line in done.stdout.splitlines() if "its worker died (its process" in line]
    assert any(line.endswith("it gets a new one, retry 1 of 1") for line in retried)
    assert "its trials are trained again one by one" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    api = client(tmp_path / "outputs")
    parents, trials = runs(api)
    assert [run.info.status for run in parents] == ["FAILED"]
    assert sorted(run.data.params["seed"] for run in trials) == ["0", "2", "3", "4"]
    (tmp_path / "always.mark").unlink()
    (name,) = {run.data.tags["sweeps.sweep"] for run in parents}
    again = inside("resume", name[:8], "cluster=inline", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "4 finished before, 1 to train" in again.stdout
    assert_complete(api, 5)


def test_a_driver_killed_with_9_and_the_command_again(tmp_path, short, slow):
    """The Ray it started ends by itself and is in nobody's way meanwhile."""
    words = ["run", *TRIAL, "seed=range(0,6)"]
    left = []
    try:
        with started(*words, cwd=tmp_path, **slow, TMPDIR=str(short)) as driver:
            for line in driver.stdout:
                if line.startswith("[1/6]"):
                    left = tree(driver.pid)[1:]
                    driver.kill()
                    break
            driver.communicate(timeout=60)
        assert len(left) > 3
        (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
        assert status["done"] >= 1
        assert status["done"] + status["left"] + status["running"] == 6
        done = sweeps(*words, cwd=tmp_path, TMPDIR=str(short))
        assert done.returncode == 0, done.stderr
        assert_complete(client(tmp_path / "outputs"), 6)
        assert not list(short.glob("sweeps-ray-*"))
        until(lambda: not alive(left), 90, "the old Ray's processes ended")
    finally:
        end(left)


def test_a_second_driver_is_refused_and_the_first_is_seen_at_work(tmp_path, slow):
    words = ["run", *TRIAL, "cluster=inline", "seed=range(0,16)"]
    with started(*words, cwd=tmp_path, **slow) as first:
        for line in first.stdout:
            if line.startswith("[1/16]"):
                break
        second = inside(*words, cwd=tmp_path)
        (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
        report = inside("report", status["sweep"], cwd=tmp_path)
        (tmp_path / "mark").unlink()
        first.communicate(timeout=120)
    for done in (second, report):
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert f"sweep {status['sweep']} is running (process {first.pid} on " in done.stderr
    assert status["state"] == "running"
    assert status["mlflow"] == "RUNNING"
    assert sum(status[k] for k in ("done", "reused", "failed", "running", "left")) == 16
    assert first.returncode == 0
    assert_complete(client(tmp_path / "outputs"), 16)
    (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert (status["state"], status["done"], status["mlflow"]) == ("finished", 16, "FINISHED")


class Proxy:
    """Before an MLflow server: passes on, answers 500, stalls, or makes runs and hides it."""

    def __init__(self, port):
        self.mode, self.faults, proxy = "pass", {"500": 0, "hang": 0}, self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.mode == "stall":
                    proxy.released.wait(60)
                    self.close_connection = True
                    return
                if proxy.mode == "500":
                    proxy.faults["500"] += 1
                    self.send_error(500)
                    return
                with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=60)) as server:
                    server.request(self.command, self.path, body, dict(self.headers))
                    answer = server.getresponse()
                    content = answer.read()
                if proxy.mode == "hang" and self.path.endswith("runs/create"):
                    proxy.faults["hang"] += 1
                    proxy.released.wait(6)
                    self.close_connection = True
                    return
                proxy.passed(self.path)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *args):
                pass

        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def passed(self, path):
        """Called when an answer to this path has come; subclasses override it."""

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("fault", ["500", "hang"])
def test_a_server_that_fails_for_a_while(server, fault, tmp_path, monkeypatch):
    """A request that hangs has created the run already: repeated requests must not add another."""
    env = AUTH | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    proxy, study = Proxy(server.port), f"fails-{fault}"
    to = ["tracking=server", f"tracking.uri={proxy.uri}"]
    pace = paced(tmp_path / "mark")
    soon = changed(
        tmp_path / "changes", driver__outbox="RETRY_AFTER = 1.0", execution__pack_training=pace
    )
    with contextlib.closing(proxy):
        words = ["run", *TRIAL, *to, "cluster=inline", f"study={study}", "seed=range(0,5)"]
        messages = []
        with started(*words, cwd=tmp_path, **env, **soon) as sweep:
            for line in sweep.stdout:
                messages.append(line)
                if line.startswith("[1/5]"):
                    proxy.mode = fault
                if line.startswith("[5/5]"):
                    proxy.mode = "pass"
            _, wrong = sweep.communicate(timeout=120)
        assert proxy.faults[fault] >= 1
        assert sweep.returncode == 0
        assert wrong == ""  # nor of MLflow's client, which asks again
        news = [line for line in messages if line.startswith("MLflow ")]
        if fault == "500":
            assert ["does not take" in line for line in news] == [True, False]
            assert "500" in news[0]
        assert inside("sync", *to, cwd=tmp_path, **env).stdout == "nothing is missing\n"
    assert_complete(server.client(monkeypatch), 5, study)


def test_interrupted_twice_it_leaves_at_once_and_loses_nothing(server, tmp_path, slow, monkeypatch):
    """The first time it waits for MLflow, which does not answer; the second it does not."""
    proxy = Proxy(server.port)
    words = ["run", *TRIAL, "tracking=server", f"tracking.uri={proxy.uri}", "study=twice"]
    words += ["cluster=inline", "seed=range(0,5)"]
    with contextlib.closing(proxy):
        with started(*words, cwd=tmp_path, **AUTH, **slow) as sweep:
            for line in sweep.stdout:
                # A line that is interrupted while it is printed is printed again.
                if line.startswith("[2/5]") and proxy.mode == "pass":
                    proxy.mode = "stall"
                    sweep.send_signal(signal.SIGINT)
                if line.startswith("Interrupted"):
                    break
            with pytest.raises(subprocess.TimeoutExpired):
                sweep.wait(2)
            sweep.send_signal(signal.SIGINT)
            assert sweep.wait(3) == 130
            assert "ended at once" in sweep.stderr.read()
        proxy.mode = "pass"
        again = inside(*words, cwd=tmp_path, **AUTH)
        assert again.returncode == 0, again.stderr
        assert "2 finished before, 3 to train" in again.stdout
    assert_complete(server.client(monkeypatch), 5, "twice")


@pytest.fixture
def little(tmp_path, request):
    """An output root on a small disk, of 40 MB unless a test asks for another."""
    root = tmp_path / "outputs"
    root.mkdir()
    words = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={getattr(request, 'param', '40m')}",
        "none",
        str(root),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk that is full needs a mount: {done.stderr.strip()}")
    yield root
    subprocess.run(["umount", "-l", str(root)], check=True)


def test_a_full_disk(little, slow):
    """It ends in one line that says so; with room again, the same command goes on."""
    words = ["run", *TRIAL, "cluster=inline", "seed=range(0,5)"]
    filler = little / "filler"
    with started(*words, cwd=little.parent, **slow) as sweep:
        for line in sweep.stdout:
            if line.startswith("[1/5]"):
                fill(filler)
                break
        _, output = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, output
    assert len(output.strip().splitlines()) == 1, output
    assert "disk" in output
    filler.unlink()
    done = inside(*words, cwd=little.parent)
    assert done.returncode == 0, done.stderr
    assert_complete(client(little), 5)


@pytest.mark.parametrize("little", ["2m", "4m"], indirect=True)
def test_a_disk_that_the_sweep_itself_fills(little):
    """Finished trials are kept; with a larger disk the same command trains only the rest."""
    words = ["run", *SMALL, "cluster=inline", "seed=range(0,16)"]
    first = inside(*words, cwd=little.parent, full=True)
    ended = first.stdout.count(": budget, ")
    if first.returncode == 1:
        assert len(first.stderr.strip().splitlines()) == 1, first.stderr
        assert "disk" in first.stderr
    else:  # only MLflow's part found no room
        assert ended == 16
    subprocess.run(["mount", "-o", "remount,size=60m", str(little)], check=True)
    _, sent = runs(client(little))
    assert len(sent) < 16 or first.returncode == 1
    done = inside(*words, "--json", cwd=little.parent, full=True)
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert sum(trial["reused"] for trial in trials) >= ended > 0
    assert_complete(client(little), 16)


def fill(path):
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)


WRITER = """import sys
from pathlib import Path

from sweeps.storage.ledger import Ledger
from sweeps.storage.outbox import OutboxItem
from sweeps.storage.record import Record, Trajectory

ledger = Ledger(Path(sys.argv[1]))
for i in range(100000):
    digest = f"{sys.argv[2]}-{i}"
    columns = {"step": [float(k) for k in range(2000)], "loss": [float(i)] * 2000}
    item = OutboxItem("study", digest, "sweep", digest)
    ledger.enqueue("local", [item])
    made = "", {}, "budget", "", {"a": 1.0}, {}, "cpu", 0, 0, {"i": i}
    ledger.save(Record(digest, *made, Trajectory.of(columns)))
    ledger.mark_sent("local", [(item, "run")])
    print(digest, flush=True)
"""


def test_the_ledger_cut_off_in_the_middle_of_a_write(tmp_path):
    """Whatever it said was written is there, whole; the next driver opens it and goes on."""
    from sweeps.storage.ledger import Ledger

    path, acknowledged = tmp_path / "ledger.db", []
    for k, pause in enumerate((0.05, 0.11, 0.23)):
        words = [sys.executable, "-c", WRITER, str(path), str(k)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=ENV) as writer:
            acknowledged.append(writer.stdout.readline().strip())
            time.sleep(pause)
            writer.kill()
            acknowledged += writer.stdout.read().split()
    with contextlib.closing(Ledger(path)) as ledger:
        assert set(acknowledged) <= set(ledger.results(acknowledged))
        assert len(acknowledged) > 3
        for digest in acknowledged:
            assert len(ledger.get(digest).trajectory["loss"]) == 2000
        assert not {
            pending_items.config_hash for pending_items in ledger.pending_items("local")
        } & set(acknowledged)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
