"""The heartbeat of a driver, and trials that make no step."""

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time

import pytest
from command import inside

from sweeps.config.request import request
from sweeps.driver import heartbeat, progress
from sweeps.driver.live_view import LiveView
from sweeps.driver.terminal import Terminal
from sweeps.execution.events import Failed, Progress
from sweeps.planning.plan import plan, trials_of
from sweeps.storage import root_lock


@pytest.fixture
def folder(tmp_path):
    """A sweep's folder under an output root."""
    path = tmp_path / "sweeps" / "abc"
    path.mkdir(parents=True)
    return path


def put(folder, **beat):
    content = {"at": time.time(), "running": {}, **beat}
    (folder / heartbeat.NAME).write_text(json.dumps(content))


@contextlib.contextmanager
def locked(folder):
    with root_lock.held(folder.parent.parent, lambda: "this"):
        yield


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_a_local_driver_is_alive_if_its_process_and_lock_exist(folder, hours):
    at = time.time() + 3600 * hours
    put(folder, at=at, host=heartbeat.socket.gethostname(), pid=os.getpid())
    assert heartbeat.last_heartbeat(folder) is None
    with locked(folder):
        assert heartbeat.last_heartbeat(folder).at == at
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    # Its process is gone; what holds the lock is another sweep.
    put(folder, at=at, host=heartbeat.socket.gethostname(), pid=gone.pid)
    with locked(folder):
        assert heartbeat.last_heartbeat(folder) is None


def test_a_driver_on_another_machine_is_alive_if_its_heartbeat_is_recent(folder):
    for ago, seen in ((1, True), (heartbeat.DEAD_AFTER + 1, False)):
        put(folder, at=time.time() - ago, host="elsewhere", pid=1)
        assert (heartbeat.last_heartbeat(folder) is not None) is seen


def test_only_one_process_holds_an_output_root(tmp_path):
    script = "import sys; from pathlib import Path; from sweeps.storage import root_lock\n"
    script += f"with root_lock.held(Path({str(tmp_path)!r}), lambda: 'this'): pass"
    with locked(tmp_path / "sweeps" / "x"):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
    error = done.stderr.splitlines()[-1]
    assert f"this on paths.output={tmp_path}: wait for it to end" in error
    with locked(tmp_path / "sweeps" / "x"):
        assert root_lock.is_held(tmp_path)
    assert not root_lock.is_held(tmp_path)
    assert not root_lock.is_held(tmp_path / "nothing")


@pytest.fixture
def hasty(monkeypatch):
    """Shorten the time after which a trial counts as stuck."""
    monkeypatch.setattr(progress, "STUCK_AFTER", 1)
    monkeypatch.setattr(heartbeat, "EVERY", 0.05)


def test_a_stuck_trial_is_reported_once(folder, hasty, capsys):
    """The line names the command that stops the trial."""
    trials = trials_of(request(["data.n=8", "model.width=16", "seed=0,1,2"]))
    hashes = [trial.config_hash for trial in trials]
    terminal = Terminal()
    terminal.progress.plan(plan(trials, study="", sweep="abc"), [])
    view, on_event = LiveView(terminal, "abc"), terminal.progress.on_event
    with heartbeat.HeartbeatWriter(folder, terminal.progress, view.on_stuck):
        for digest in hashes:
            on_event(Progress(digest, 12, 1500, 0.1))
        on_event(Failed(hashes[2], "why"))
        for step in itertools.count(13):
            on_event(Progress(hashes[0], 12, 1500, 0.1))
            on_event(Progress(hashes[1], step, 1500, 0.1))
            time.sleep(0.02)
            if stuck_trials(folder).get(hashes[0], 0) >= 2:
                break
        assert set(stuck_trials(folder)) == {hashes[0]}
        on_event(Progress(hashes[0], 13, 1500, 0.1))
        while stuck_trials(folder):
            time.sleep(0.02)
            on_event(Progress(hashes[1], 0, 1500, 0.1))
            on_event(Progress(hashes[1], 1, 1500, 0.1))
    lines = [line for line in capsys.readouterr().out.splitlines() if "no step" in line]
    assert len(lines) == 1
    assert lines[0].startswith("seed=0: no step for ")
    assert lines[0].endswith(f" s (step 12/1500); to stop it: sweeps stop abc {hashes[0][:12]}")


def stuck_trials(folder):
    """Seconds since the last step of the stuck trials, from the heartbeat."""
    with contextlib.suppress(OSError):
        return json.loads((folder / heartbeat.NAME).read_text())["stuck"]
    return {}


@pytest.mark.slow
def test_status_reports_a_stuck_trial(tmp_path):
    """The sweep waits in a custom activation."""
    done = inside(
        "run", "data.n=8", "model.width=16", "train.steps=20", "cluster=inline", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs"
    (folder,) = (output / "sweeps").iterdir()
    with contextlib.closing(sqlite3.connect(output / "ledger.db")) as db, db:
        (digest,) = db.execute("SELECT config_hash FROM results").fetchone()
        db.execute("DELETE FROM results")
        db.execute("UPDATE sweeps SET status = 'RUNNING'")
    put(
        folder,
        host=heartbeat.socket.gethostname(),
        pid=os.getpid(),
        running={digest: [3, 20]},
        stuck={digest: 75},
        summary="0 done, 1 running, 0 failed, 0 reused of 1; about 3 min left",
    )
    with locked(folder):
        (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert status["state"] == "running"
    stop = f"sweeps stop {status['sweep']} {digest[:12]}"
    assert status["trials"][0]["note"] == f"step 3/20, no step for 75 s; to stop it: {stop}"
    assert status["progress"].endswith("about 3 min left")
    (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert status["state"] == "interrupted"
