"""`sweeps stop` and cluster.trial_timeout: what ends, what is kept, what continues."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest
from changes import changed
from command import ENV, client, inside, runs, started, sweeps

from sweeps.config.request import request
from sweeps.driver import session
from sweeps.driver.live_view import LiveView
from sweeps.driver.message_handler import MessageHandler
from sweeps.driver.terminal import Terminal
from sweeps.execution.events import Done, Failed, Note, Progress, Stopped
from sweeps.execution.retry import LostPack, train_with_retries
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.worker import train_on_worker
from sweeps.planning.plan import trials_of
from sweeps.storage import stop_requests
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.stop_requests import SWEEP, Guard, StopRequest, StopRequests, Watchdog

pytestmark = pytest.mark.slow

WORDS = ["data.n=8", "model.width=16", "train.steps=60", "train.loss_tol=0"]
ALICE = StopRequest("alice on here")


def planned(count):
    return trials_of(request([*WORDS, f"seed=range(0,{count})"]))


@pytest.fixture
def requests(tmp_path, monkeypatch):
    """Requests of a sweep, read at every step."""
    monkeypatch.setattr(stop_requests, "EVERY", 0.0)
    return StopRequests.of(tmp_path / "sweeps" / "abc")


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints.under(tmp_path, 60.0)


def trained(trials, requests, checkpoints=None, at=None):
    """Messages of a worker; `at` is called after the first step."""
    guard = Guard(requests)
    for message in train_on_worker(
        [t.plain for t in trials], WorkerSettings("cpu", 1, checkpoints), guard
    ):
        if at and isinstance(message, Progress) and message.loss > 0:
            at()
            at = None
        yield message


def of(kind, messages):
    return [message for message in messages if isinstance(message, kind)]


def trajectory(record):
    return {name: record.trajectory[name] for name in ("loss", "norm_w", "residual")}


def test_a_stopped_trial_leaves_its_pack_and_continues_from_its_checkpoint(requests, checkpoints):
    """The others continue too, with bit-identical results."""
    trials = planned(3)
    hashes = [trial.config_hash for trial in trials]

    def stop():
        requests.write(hashes[1], ALICE)

    said = list(trained(trials, requests, checkpoints, stop))
    (stopped,) = of(Stopped, said)
    assert str(stopped) == "stopped by alice on here at step 0/60, checkpoint kept"
    ended = {m.record.config_hash: m.record for m in of(Done, said)}
    assert set(ended) == {hashes[0], hashes[2]}
    assert not of(Failed, said)
    assert [hashes[1]] in checkpoints.packs().values()
    # A worker that takes its place does not begin it again.
    assert of(Stopped, trained(trials[1:2], requests, checkpoints)) == [
        Stopped(hashes[1], ALICE.by)
    ]
    requests.clear()
    (done,) = of(Done, trained(trials[1:2], requests, checkpoints))
    assert done.record.environment["resumed_at"] == [1]
    assert done.record.status == "budget"
    assert len(done.record.trajectory["loss"]) == 61
    # The same without checkpoints.
    without = list(trained(trials, requests, None, stop))
    assert [str(m) for m in of(Stopped, without)] == ["stopped by alice on here at step 0/60"]
    for done in of(Done, without):
        assert trajectory(done.record) == trajectory(ended[done.record.config_hash])


def test_a_stopped_sweep_leaves_the_checkpoint_of_the_whole_pack(requests, checkpoints):
    trials = planned(2)
    said = list(trained(trials, requests, checkpoints, lambda: requests.write(SWEEP, ALICE)))
    assert not of((Done, Failed, Stopped), said)
    assert list(checkpoints.packs().values()) == [[trial.config_hash for trial in trials]]
    assert list(trained(trials, requests, checkpoints)) == []
    requests.clear()
    assert len(of(Done, trained(trials, requests, checkpoints))) == 2


def test_a_trial_beyond_its_time_limit_fails(requests, checkpoints):
    """It ends between two steps; the trials of a pack share the limit."""
    short = StopRequests(requests.folder, timeout=1e-9)
    said = of(Failed, trained(planned(2), short, checkpoints))
    assert len(said) == 2
    for failed in said:
        assert failed.final
        assert failed.error.startswith("cluster.trial_timeout=1e-09: ended after 0 s, at step ")


def test_a_worker_that_hangs_within_a_step_is_ended(requests, monkeypatch):
    """A worker that still polls is not. The next worker learns whose time was over."""
    monkeypatch.setattr(stop_requests, "EVERY", 0.01)
    monkeypatch.setattr(stop_requests, "HANGS_AFTER", 0.2)
    guard, ended = Guard(StopRequests(requests.folder, timeout=0.01)), threading.Event()
    guard.start(["a" * 64])
    with Watchdog(guard, ended.set):
        for _ in range(30):
            guard.poll()
            time.sleep(0.02)
        assert not ended.is_set()
        assert ended.wait(30)
    assert requests.read()["a" * 64].by == ""
    quiet = Guard(requests)
    quiet.start(["b" * 64])
    time.sleep(0.3)
    assert not quiet.hangs()


def test_a_pack_lost_because_of_a_request_is_not_trained_again(requests):
    trials = planned(3)
    hashes = [trial.config_hash for trial in trials]
    tried = []

    def fit(packs, retries):
        tried.append([[trial.config_hash for trial in pack] for pack in packs])
        if len(tried) == 1:
            requests.write(hashes[0], ALICE)
            requests.write(hashes[1], StopRequest(seconds=15.0))
            yield LostPack(packs[0], "its worker died")
        else:
            yield Failed(hashes[2], "why")

    said = list(train_with_retries([trials], 0, fit, requests))
    assert said[0] == Stopped(hashes[0], ALICE.by)
    assert said[1].error.endswith("ended after 15 s, within a step that did not end")
    assert isinstance(said[2], Note)
    assert said[3:] == [Failed(hashes[2], "why")]
    assert tried == [[hashes], [[hashes[2]]]]
    requests.write(SWEEP, ALICE)
    tried.clear()
    assert list(
        train_with_retries(
            [trials[2:]], 0, lambda *_: iter([LostPack(trials[2:], "died")]), requests
        )
    ) == [Failed(hashes[2], "died", final=False)]


def test_two_simultaneous_stop_commands_both_count(requests):
    script = "import sys; from pathlib import Path; from sweeps.storage.stop_requests import *\n"
    script += "for n in range(40): StopRequests(Path(sys.argv[1])).write("
    script += "f'{sys.argv[2]}{n}', StopRequest(sys.argv[2]))"
    words = [sys.executable, "-c", script, str(requests.folder)]
    with contextlib.ExitStack() as stack:
        for who in ("x", "y"):
            stack.enter_context(subprocess.Popen([*words, who], env=ENV))
    found = requests.read()
    assert sorted(found) == sorted(f"{who}{n}" for who in "xy" for n in range(40))
    assert {request.by for request in found.values()} == {"x", "y"}
    (requests.folder / "z.json").write_text('{"by": "a\\u001b[2Jb", "seconds": 0}')
    assert requests.read()["z"].by == "a[2Jb"
    (requests.folder / "z.json").write_text("[")
    assert requests.read()["z"].by == "somebody"


LONG = ["run", "data.n=8", "model.width=16", "train.steps=1000", "train.loss_tol=0"]
LONG += ["train.eta=1e-4", "diagnostics.every=100", "seed=range(0,4)"]


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
        _, said = driver.communicate(timeout=120)
        assert driver.returncode == 130
        assert said.startswith("sweeps: stopped by ")
        assert len(said.splitlines()) == 1
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


def test_the_mark_of_a_stop_goes_when_the_trial_starts_again(tmp_path):
    """So does a failure: what happens next, as a killed driver, is not hidden by it."""
    trials = planned(3)
    stopped, waiting, broken = (trial.config_hash for trial in trials)
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as ledger:
        for digest in (stopped, waiting):
            ledger.save_failure(digest, "stopped by alice on here at step 9/60", final=False)
        ledger.save_failure(broken, "its worker died", final=False)
        entry, terminal = SweepEntry("study", "abc", {}, "1", "run", "RUNNING"), Terminal()
        view, requests = LiveView(terminal, "abc"), StopRequests.of(tmp_path)
        handler = MessageHandler(
            entry, ledger, mock.Mock(), terminal, view, requests, tmp_path, 0.0
        )
        begun = [Progress(digest, 9, 60, 1.0) for digest in (stopped, broken)]
        handler.handle_all(iter(begun), {t.config_hash: t for t in trials}, mock.Mock())
        assert set(ledger.failures([stopped, waiting, broken])) == {waiting}


def test_a_sweep_that_is_starting_is_seen_and_stopped(tmp_path, monkeypatch):
    """Before MLflow is open; then it trains nothing, and resume completes it."""
    seen, opened = [], session.Tracker

    def slow(*words):
        (status,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)
        seen.append((status, inside("stop", status["sweep"][:8], cwd=tmp_path)))
        return opened(*words)

    monkeypatch.setattr(session, "Tracker", slow)
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
    end, found = time.monotonic() + 120, []
    while time.monotonic() < end:
        asked = inside("status", "--json", cwd=cwd)
        found = json.loads(asked.stdout) if asked.returncode == 0 else []
        if found and right(found[0]):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(found)


HANGS = """import time
from pathlib import Path

import torch

import deq

MARK = Path(__file__).parent / "mark"


def sin(x):
    if x.dim() == 3 and MARK.exists():
        if bool(((x[:, 0, 0] - float(MARK.read_text())).abs() < 1e-12).any()):
            time.sleep(3600)
    return x.sin()


wave = deq.Activation("wave", sin, torch.cos, 1.0, 1.0, 0.0, True)
"""


def test_a_trial_that_hangs_within_a_step_on_a_worker(tmp_path, monkeypatch):
    """Its worker is ended once; the other trials have results, and this one its reason."""
    import torch

    import deq
    from deq.theory.rejection_sampling import starting_weights

    (tmp_path / "hangs.py").write_text(HANGS)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [*WORDS, "model.activation=hangs:wave", "seed=0,1,2", "pack=1"]
    config = request(words).trials[1].trial
    data = deq.load(config.data)
    _, u, _ = starting_weights([config], [data], torch.device("cpu"))
    (tmp_path / "mark").write_text(repr(float((u @ data.x)[0, 0, 0])))
    soon = changed(tmp_path / "changes", storage__stop_requests="HANGS_AFTER = 2.0")
    done = sweeps("run", *words, "cluster.trial_timeout=8", cwd=tmp_path, **soon)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("seed=1 failed: ")]
    assert line.startswith("seed=1 failed: cluster.trial_timeout=8: ended after ")
    assert line.endswith(" s, within a step that did not end")
    assert "seed=1: it was to stop and hung within a step: its worker was ended" in done.stdout
    assert "its worker died" not in done.stdout
    _, trials = runs(client(tmp_path / "outputs"))
    assert sorted(run.data.params["seed"] for run in trials) == ["0", "2"]
    plan = inside("run", *words, "--dry-run", cwd=tmp_path)
    assert "1 failed before" in plan.stdout


def test_stop_a_sweep_whose_trials_train_on_workers(tmp_path, slow):
    """Checkpoints are written; the same command continues from them."""
    words = [*LONG, "pack=1"]
    with started(*words, cwd=tmp_path, **slow) as driver:
        wait_for(tmp_path, lambda s: s["running"] >= 1 and "about" in s["progress"])
        asked = inside("stop", sweep_of(tmp_path), cwd=tmp_path)
        assert asked.returncode == 0
        _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130, said
    assert said.startswith("sweeps: stopped by ")
    assert list((tmp_path / "outputs" / "checkpoints").glob("*/step-*.npz"))
    done = inside(*words, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on from step" in done.stdout
    (parent,), trials = runs(client(tmp_path / "outputs"))
    assert parent.info.status == "FINISHED"
    assert len(trials) == 4


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
