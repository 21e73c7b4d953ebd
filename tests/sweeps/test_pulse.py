"""A driver at work is seen by its lock, not its clock; a trial that says nothing is named."""

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

from sweeps import progress, pulse, root_lock
from sweeps.config import request
from sweeps.live_view import LiveView
from sweeps.messages import Failed, Progress
from sweeps.planning import plan, trials_of
from sweeps.terminal import Terminal


@pytest.fixture
def folder(tmp_path):
    """A sweep's folder under an output root."""
    found = tmp_path / "sweeps" / "abc"
    found.mkdir(parents=True)
    return found


def put(folder, **beat):
    said = {"at": time.time(), "running": {}, **beat}
    (folder / pulse.NAME).write_text(json.dumps(said))


@contextlib.contextmanager
def locked(folder):
    with root_lock.held(folder.parent.parent, lambda: "this"):
        yield


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_a_driver_of_this_machine_is_looked_for_whatever_its_clock_says(folder, hours):
    at = time.time() + 3600 * hours
    put(folder, at=at, host=pulse.socket.gethostname(), pid=os.getpid())
    assert pulse.last_beat(folder) is None
    with locked(folder):
        assert pulse.last_beat(folder).at == at
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    # Its process is gone; what holds the lock is another sweep.
    put(folder, at=at, host=pulse.socket.gethostname(), pid=gone.pid)
    with locked(folder):
        assert pulse.last_beat(folder) is None


def test_of_another_machine_its_clock_must_do(folder):
    for ago, seen in ((1, True), (pulse.DEAD_AFTER + 1, False)):
        put(folder, at=time.time() - ago, host="elsewhere", pid=1)
        assert (pulse.last_beat(folder) is not None) is seen


def test_a_root_is_held_by_one(tmp_path):
    script = "import sys; from pathlib import Path; from sweeps import root_lock\n"
    script += f"with root_lock.held(Path({str(tmp_path)!r}), lambda: 'this'): pass"
    with locked(tmp_path / "sweeps" / "x"):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
    said = done.stderr.splitlines()[-1]
    assert f"this on paths.output={tmp_path}: wait for it to end" in said
    with locked(tmp_path / "sweeps" / "x"):
        assert root_lock.is_held(tmp_path)
    assert not root_lock.is_held(tmp_path)
    assert not root_lock.is_held(tmp_path / "nothing")


@pytest.fixture
def hasty(monkeypatch):
    """Seconds for minutes."""
    monkeypatch.setattr(progress, "STUCK_AFTER", 1)
    monkeypatch.setattr(pulse, "EVERY", 0.05)


def test_a_trial_that_makes_no_step_is_named_once(folder, hasty, capsys):
    """Also where it is heard of; with the command that stops it."""
    trials = trials_of(request(["data.n=8", "model.width=16", "seed=0,1,2"]))
    hashes = [trial.config_hash for trial in trials]
    terminal = Terminal()
    terminal.progress.plan(plan(trials, study="", sweep="abc"), [])
    view, tell = LiveView(terminal, "abc"), terminal.progress.tell
    with pulse.Pulse(folder, terminal.progress, view.on_stuck):
        for digest in hashes:
            tell(Progress(digest, 12, 1500, 0.1))
        tell(Failed(hashes[2], "why"))
        for step in itertools.count(13):
            tell(Progress(hashes[0], 12, 1500, 0.1))
            tell(Progress(hashes[1], step, 1500, 0.1))
            time.sleep(0.02)
            if said_stuck(folder).get(hashes[0], 0) >= 2:
                break
        assert set(said_stuck(folder)) == {hashes[0]}
        tell(Progress(hashes[0], 13, 1500, 0.1))
        while said_stuck(folder):
            time.sleep(0.02)
            tell(Progress(hashes[1], 0, 1500, 0.1))
            tell(Progress(hashes[1], 1, 1500, 0.1))
    lines = [line for line in capsys.readouterr().out.splitlines() if "no step" in line]
    assert len(lines) == 1
    assert lines[0].startswith("seed=0: no step for ")
    assert lines[0].endswith(f" s (step 12/1500); to stop it: sweeps stop abc {hashes[0][:12]}")


def said_stuck(folder):
    """Which trials a driver says make no step, and for how long."""
    with contextlib.suppress(OSError):
        return json.loads((folder / pulse.NAME).read_text())["stuck"]
    return {}


@pytest.mark.slow
def test_status_names_it(tmp_path):
    """Of a sweep that waits in an activation of the user's own."""
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
        host=pulse.socket.gethostname(),
        pid=os.getpid(),
        running={digest: [3, 20]},
        stuck={digest: 75},
        says="0 done, 1 running, 0 failed, 0 reused of 1; about 3 min left",
    )
    with locked(folder):
        (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert status["state"] == "running"
    stop = f"sweeps stop {status['sweep']} {digest[:12]}"
    assert status["trials"][0]["note"] == f"step 3/20, no step for 75 s; to stop it: {stop}"
    assert status["progress"].endswith("about 3 min left")
    (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert status["state"] == "interrupted"
