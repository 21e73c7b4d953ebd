"""`sweeps stop` and cluster.trial_timeout of sweeps that run: what ends, what continues."""

import json
import signal
import time

import pytest
from changes import changed, paced
from command import client, inside, runs, started, sweeps
from own_wave import mark_trial, write_wave

from sweeps.driver import run as runner

pytestmark = pytest.mark.slow

WORDS = ["data.n=8", "model.width=16", "train.steps=60", "train.loss_tol=0"]
LONG = ["run", "data.n=8", "model.width=16", "train.steps=300", "train.loss_tol=0"]
LONG += ["train.eta=1e-4", "diagnostics.every=100", "seed=range(0,4)"]


@pytest.fixture
def slow(tmp_path):
    """Environment of a command whose trials last 90 s."""
    pace = paced(tmp_path / "mark", 0.3)
    return changed(tmp_path / "changes", execution__pack_training=pace)


def test_stop_a_trial_and_then_the_sweep(tmp_path, slow):
    """The requests come from another process; `resume` completes the sweep."""
    words = [*LONG, "cluster=inline", "pack=2"]
    with started(*words, cwd=tmp_path, **slow) as driver:
        sweep = next(line for line in driver.stdout if line.startswith("Sweep ")).split()[1][:-1]
        status = wait_for(tmp_path, lambda s: s["running"] == 2)
        watched, left = watching(tmp_path, sweep), watching(tmp_path, sweep[:6])
        assert sweep in left.stdout.readline()
        left.send_signal(signal.SIGINT)
        first, _ = [t["config_hash"] for t in status["trials"] if t["state"] == "running"]
        asked = inside("stop", sweep[:8], first[:10], cwd=tmp_path)
        assert (asked.returncode, asked.stderr) == (0, "")
        assert asked.stdout.startswith("seed=")
        line = next(line for line in driver.stdout if "stopped by " in line)
        assert line.rstrip().endswith("checkpoint kept")
        wait_for(tmp_path, lambda s: s["trials"][0]["state"] == "stopped by a person")
        again = inside("stop", sweep[:8], "000000", cwd=tmp_path)
        assert "names 0 trials" in again.stderr
        again = inside("stop", sweep[:8], first[:10], cwd=tmp_path)
        assert (again.returncode, "asked to stop before" in again.stderr) == (2, True)
        asked = inside("stop", sweep[:8], cwd=tmp_path)
        assert (asked.returncode, asked.stderr) == (0, "")
        _, output = driver.communicate(timeout=120)
        assert driver.returncode == 130
        assert output.startswith("sweeps: stopped by ")
        assert len(output.splitlines()) == 1
        out, _ = watched.communicate(timeout=60)
        assert watched.returncode == 0
        assert "running" in out
        left.communicate(timeout=60)
        assert left.returncode == 0
    (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert status["state"] == "interrupted"
    notes = [t["note"] for t in status["trials"] if t["state"] == "stopped by a person"]
    assert notes[0].endswith(": resume goes on from there")
    assert status["left"] == 4 - status["done"] >= 2  # on a slow machine one ends before
    assert " on " in status["stopped_by"]
    (parent,), _ = runs(client(tmp_path / "outputs"))
    assert parent.info.status == "KILLED"
    assert parent.data.tags["sweeps.stopped_by"] == status["stopped_by"]
    again = inside("stop", sweep, cwd=tmp_path)
    assert again.returncode == 2
    assert "does not run" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    assert not inside("status", sweep, "--watch", cwd=tmp_path).returncode
    done = inside("resume", sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on from step" in done.stdout
    (parent,), trials = runs(client(tmp_path / "outputs"))
    assert parent.info.status == "FINISHED"
    assert "sweeps.stopped_by" not in parent.data.tags
    assert [run.info.status for run in trials] == ["FINISHED"] * 4


def test_a_sweep_that_is_starting_is_seen_and_stopped(tmp_path, monkeypatch):
    """Before MLflow is open; then it trains nothing, and resume completes it."""
    seen, opened = [], runner.Tracker

    def slow(*words):
        (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
        seen.append((status, inside("stop", status["sweep"][:8], cwd=tmp_path)))
        return opened(*words)

    monkeypatch.setattr(runner, "Tracker", slow)
    done = inside("run", *WORDS, "seed=0,1", "cluster=inline", cwd=tmp_path)
    monkeypatch.undo()
    ((status, stopped),) = seen
    assert (status["state"], status["mlflow"], status["left"]) == ("starting", "", 2)
    assert status["waits"].startswith("opening the record ")
    assert stopped.returncode == 0, stopped.stderr
    assert done.returncode == 130
    assert done.stderr.startswith("sweeps: stopped by ")
    assert "seed=0: " not in done.stdout
    (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
    assert (status["state"], status["left"]) == ("interrupted", 2)
    assert not list(tmp_path.glob("outputs/sweeps/*/*.json"))
    assert inside("stop", status["sweep"], cwd=tmp_path).returncode == 2
    assert inside("resume", status["sweep"], cwd=tmp_path).returncode == 0


def test_a_sweep_that_could_not_start_leaves_no_folder(tmp_path):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "mlflow").write_text("no folder")
    done = inside("run", *WORDS, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "outputs" / "sweeps").exists()


def watching(cwd, sweep):
    return started("status", sweep, "--watch", "--every", "0.2", cwd=cwd)


def wait_for(cwd, right):
    """Wait until the status of the sweep fulfils a condition; return it."""
    end, rows = time.monotonic() + 120, []
    while time.monotonic() < end:
        asked = inside("status", "--json", cwd=cwd)
        rows = json.loads(asked.stdout) if asked.returncode == 0 else []
        if rows and right(rows[0]):
            return rows[0]
        time.sleep(0.5)
    raise AssertionError(rows)


def test_a_trial_that_hangs_within_a_step_on_a_worker(tmp_path, monkeypatch):
    """Its worker is ended once; the other trials have results, and this one its reason."""
    write_wave(tmp_path / "hangs.py", "time.sleep(3600)")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [*WORDS, "model.activation=hangs:wave", "seed=0,1,2", "pack=1"]
    words.append("cluster.cpus_per_trial=2")
    mark_trial(tmp_path / "seed-1.mark", words, 1)
    soon = changed(tmp_path / "changes", storage__stop_requests="HANGS_AFTER = 2.0")
    done = sweeps("run", *words, "cluster.trial_timeout=20", cwd=tmp_path, **soon)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("seed=1 failed: ")]
    assert line.startswith("seed=1 failed: cluster.trial_timeout=20: ended after ")
    assert line.endswith(" s, within a step that did not end")
    assert "seed=1: it was to stop and hung within a step: its worker was ended" in done.stdout
    assert "its worker died" not in done.stdout
    _, trials = runs(client(tmp_path / "outputs"))
    assert sorted(run.data.params["seed"] for run in trials) == ["0", "2"]
    plan = inside("run", *words, "--dry-run", cwd=tmp_path)
    assert "1 failed before" in plan.stdout


def test_stop_a_sweep_whose_trials_train_on_workers(tmp_path, slow):
    """Checkpoints are written; the same command continues from them."""
    words = [*LONG, "pack=1", "cluster.cpus_per_trial=2"]
    with started(*words, cwd=tmp_path, **slow) as driver:
        wait_for(tmp_path, lambda s: s["running"] >= 1 and "about" in s["progress"])
        asked = inside("stop", sweep_of(tmp_path), cwd=tmp_path)
        assert asked.returncode == 0
        _, output = driver.communicate(timeout=120)
    assert driver.returncode == 130, output
    assert output.startswith("sweeps: stopped by ")
    assert list((tmp_path / "outputs" / "checkpoints").glob("*/step-*.npz"))
    done = inside(*words, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on from step" in done.stdout
    (parent,), trials = runs(client(tmp_path / "outputs"))
    assert parent.info.status == "FINISHED"
    assert len(trials) == 4


LARGE = """
import time as _time

_write = CheckpointWriter.write


def _slowly(self, descent):
    _time.sleep(1.5)
    yield from _write(self, descent)


CheckpointWriter.write = _slowly
"""


def test_an_interruption_waits_for_a_checkpoint_that_takes_long(tmp_path):
    """As of a large network. Tune by itself ends a worker that is writing."""
    (tmp_path / "mark").touch()
    pace = paced(tmp_path / "mark")
    code = {"execution__pack_training": pace, "execution__checkpoint_writer": LARGE}
    words = [*LONG, "pack=1", "checkpoint.every_seconds=600"]
    with started(*words, cwd=tmp_path, **changed(tmp_path / "changes", **code)) as driver:
        wait_for(tmp_path, lambda s: s["running"] >= 1 and "about" in s["progress"])
        driver.send_signal(signal.SIGINT)
        _, text = driver.communicate(timeout=120)
    assert driver.returncode == 130, text
    assert list((tmp_path / "outputs" / "checkpoints").glob("*/step-*.npz"))


def sweep_of(cwd):
    (folder,) = (cwd / "outputs" / "sweeps").iterdir()
    return folder.name


def test_a_negative_time_limit_is_refused(tmp_path):
    done = inside("run", "cluster.trial_timeout=-1", cwd=tmp_path)
    assert done.returncode == 2
    assert "trial_timeout must be at least 0" in done.stderr
    assert not list(tmp_path.iterdir())


def test_stop_without_a_record_is_refused(tmp_path):
    done = inside("stop", "abcdef", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
