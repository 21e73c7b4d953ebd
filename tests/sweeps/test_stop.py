"""`sweeps stop` and cluster.trial_timeout: what ends, what is kept, what continues."""

import contextlib
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest
from command import ENV

from sweeps.config.request import request
from sweeps.driver.live_view import LiveView
from sweeps.driver.message_handler import MessageHandler
from sweeps.driver.terminal import Terminal
from sweeps.execution.events import Done, Failed, Note, Progress, Stopped
from sweeps.execution.retry import LostPack, train_with_retries
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.worker import train_on_worker
from sweeps.planning.plan import trials_of
from sweeps.storage import stop_requests
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

    messages = list(trained(trials, requests, checkpoints, stop))
    (stopped,) = of(Stopped, messages)
    assert str(stopped) == "stopped by alice on here at step 1/60, checkpoint kept"
    ended = {m.record.config_hash: m.record for m in of(Done, messages)}
    assert set(ended) == {hashes[0], hashes[2]}
    assert not of(Failed, messages)
    assert [hashes[1]] in checkpoints.packs().values()
    assert checkpoints.steps()[hashes[1]] == stopped.step == 1
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
    assert [str(m) for m in of(Stopped, without)] == ["stopped by alice on here at step 1/60"]
    for done in of(Done, without):
        assert trajectory(done.record) == trajectory(ended[done.record.config_hash])


def test_a_stopped_sweep_leaves_the_checkpoint_of_the_whole_pack(requests, checkpoints):
    trials = planned(2)
    messages = list(trained(trials, requests, checkpoints, lambda: requests.write(SWEEP, ALICE)))
    assert not of((Done, Failed, Stopped), messages)
    assert list(checkpoints.packs().values()) == [[trial.config_hash for trial in trials]]
    assert list(trained(trials, requests, checkpoints)) == []
    requests.clear()
    assert len(of(Done, trained(trials, requests, checkpoints))) == 2


def test_a_trial_beyond_its_time_limit_fails(requests, checkpoints):
    """It ends between two steps; the trials of a pack share the limit."""
    short = StopRequests(requests.folder, timeout=1e-9)
    failures = of(Failed, trained(planned(2), short, checkpoints))
    assert len(failures) == 2
    for failed in failures:
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

    messages = list(train_with_retries([trials], 0, fit, requests))
    assert messages[0] == Stopped(hashes[0], ALICE.by)
    assert messages[1].error.endswith("ended after 15 s, within a step that did not end")
    assert isinstance(messages[2], Note)
    assert messages[3:] == [Failed(hashes[2], "why")]
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
    written = requests.read()
    assert sorted(written) == sorted(f"{who}{n}" for who in "xy" for n in range(40))
    assert {request.by for request in written.values()} == {"x", "y"}
    (requests.folder / "z.json").write_text('{"by": "a\\u001b[2Jb", "seconds": 0}')
    assert requests.read()["z"].by == "a[2Jb"
    (requests.folder / "z.json").write_text("[")
    assert requests.read()["z"].by == "somebody"


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
