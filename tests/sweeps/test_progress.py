"""The time left, by the trials' cost; the live view; lines on long waits."""

import os
import pty
import queue
import select
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from command import ENV

from sweeps.config.request import request
from sweeps.config.texts import percent
from sweeps.driver import progress, terminal
from sweeps.driver.live_view import LiveView
from sweeps.driver.progress import SweepProgress, duration
from sweeps.execution.events import Failed, Progress, Stopped
from sweeps.planning.plan import plan, trials_of


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is advanced."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    moved = Clock()
    monkeypatch.setattr(progress, "time", moved)
    return moved


def planned(*words):
    trials = trials_of(request(["data.n=8", "train.steps=100", *words]))
    return [trial.config_hash for trial in trials], plan(trials, study="s", sweep="abc")


def test_a_stopped_trial_counts_with_the_steps_that_it_took(clock):
    (one, _), both = planned("seed=0,1")
    progress = SweepProgress()
    progress.plan(both, [])
    progress.on_event(Progress(one, 0, 100, 1.0))
    clock.now += 10
    progress.on_event(Progress(one, 25, 100, 1.0))
    progress.on_event(Stopped(one, "alice", 25, 100))
    assert progress.seconds_left() == pytest.approx(40)


def test_the_time_left_is_estimated_by_cost(clock):
    """A trial of four times the width takes 16 times as long; by count it would be half."""
    (small, large), both = planned("model.width=16,64")
    progress = SweepProgress()
    progress.plan(both, ["x", "y", "z"])
    assert progress.sentence() == "0 done, 0 running, 0 failed, 3 reused of 2"
    progress.on_event(Progress(small, 0, 100, 1.0))
    clock.now += 10
    progress.on_event(Progress(small, 50, 100, 1.0))
    assert progress.share() == pytest.approx(0.5 / 17)
    progress.on_event(Failed(small, "why"))
    assert progress.share() == pytest.approx(1 / 17)
    assert progress.seconds_left() == pytest.approx(160)
    assert progress.rate() == pytest.approx(1 / 170)
    text = "0 done, 0 running, 1 failed, 3 reused of 2; about 3 min left"
    assert progress.sentence() == text
    assert progress.speed() == "6 % of the work, 35 % a minute"
    # What a checkpoint brought along is done, but not in these seconds.
    progress.on_event(Progress(large, 50, 100, 1.0))
    assert progress.share() == pytest.approx(9 / 17)
    assert progress.seconds_left() == pytest.approx(80)
    assert progress.speed() == "53 % of the work, 35 % a minute"
    progress.on_event(Stopped(large, "alice"))
    assert progress.sentence() == "0 done, 0 running, 1 failed, 1 stopped, 3 reused of 2"


def test_the_time_left_is_shown_once_the_rate_is_steady(clock):
    """After a resume; a trial that is slow at first and then ten times as fast."""
    (one, two), both = planned("seed=0,1", "train.steps=1000")
    progress = SweepProgress()
    progress.plan(both, [])
    progress.on_event(Progress(one, 520, 1000, 1.0))
    progress.on_event(Progress(two, 900, 1000, 1.0))
    # The checkpoints' work counts from the first moment.
    assert progress.speed() == "71 % of the work"
    step, texts = 520.0, []
    for speed in [0.5] * 8 + [5.0] * 60:
        clock.now += 1
        step += speed
        progress.on_event(Progress(one, int(step), 1000, 1.0))
        texts.append(progress.seconds_left())
    assert texts[:4] == [None] * 4
    assert progress.speed().endswith(" a minute")
    shown = [left for left in texts[8:] if left is not None]
    # The true time left: 176 steps of one trial and 100 of the other, at 5 steps a second.
    assert shown[-1] / 2 < (1000 - step + 100) / 5 < shown[-1] * 2
    # It stops: the time left is unknown.
    clock.now += 150
    progress.on_event(Progress(one, int(step), 1000, 1.0))
    clock.now += 150
    assert progress.seconds_left() is None


def test_a_percentage_is_no_power_of_ten():
    assert [percent(v) for v in (0.0123, 2.44, 35.2, 218.7)] == ["0.012", "2.4", "35", "219"]


def test_the_waiting_text_names_the_innermost_wait(clock):
    (digest,), one = planned("model.width=16")
    progress = SweepProgress()
    with progress.waiting("composing"):
        clock.now += 12.4
        assert progress.waiting_text() == "composing 12 s"
        with progress.waiting("starting Ray"):
            assert progress.waiting_text() == "starting Ray 0 s"
    assert progress.waiting_text() == ""
    progress.plan(one, [])
    clock.now += 3
    assert progress.waiting_text() == "waiting for a worker 3 s"
    progress.on_event(Progress(digest, 1, 100, 1.0))
    assert progress.waiting_text() == ""
    assert progress.stuck() == {}
    clock.now += 75
    progress.on_event(Progress(digest, 1, 100, 1.0))
    assert progress.stuck() == {digest: 75}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (1500, "25 min"), (12600, "3.5 h"), (7.25 * 86400, "7.2 days")],
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_only_long_waits_are_printed(capsys, monkeypatch):
    quiet = terminal.Terminal()
    with quiet.waiting("starting Ray"):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(terminal, "LONG", 0.01)
    lines: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(quiet, "say", lines.put)
    with quiet.waiting("starting Ray"):
        line = lines.get(timeout=60)
    assert line.startswith("starting Ray: ")


def test_the_live_view_names_stuck_trials(clock):
    hashes, three = planned("model.width=16", "seed=0,1,2")
    shown = terminal.Terminal()
    shown.progress.plan(three, [])
    view = LiveView(shown, "abc")
    for digest in hashes[:2]:
        shown.progress.on_event(Progress(digest, 5, 100, 0.25))
    clock.now += 70
    shown.progress.on_event(Progress(hashes[0], 6, 100, 0.25))
    head, stuck, other = view.rows()
    assert "0 done, 2 running, 0 failed, 0 reused of 3; about " in head[0]
    how = f"to stop it: sweeps stop abc {hashes[1][:12]}"
    assert stuck == ["  seed=1", "step 5/100", f"no step for 70 s; {how}"]
    assert other == ["  seed=0", "step 6/100", "loss 0.25"]


# Waits for a worker, and says nothing.
WAITS = """import sys
import time
from sweeps.driver.terminal import Terminal

assert not {"torch", "mlflow", "ray", "hydra"} & set(sys.modules)
terminal = Terminal()
with terminal.waiting("starting Ray"):
    sys.stdin.readline()
terminal.say("The end.")
"""


def test_the_live_view_is_redrawn_without_messages():
    primary, secondary = pty.openpty()
    env = ENV | {"TERM": "xterm"}
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(command, stdin=secondary, stdout=secondary, env=env) as waits:
        os.close(secondary)
        screen = until(primary, "starting Ray 2 s")
        seen = [screen.index(f"starting Ray {second} s") for second in range(3)]
        assert all(a < b for a, b in pairwise(seen))
        os.write(primary, b"\n")
        assert until(primary, "The end.")
        assert waits.wait(30) == 0
    os.close(primary)


def until(terminal, text):
    """Output of a terminal up to this text."""
    heard, end = "", time.monotonic() + 60
    while text not in heard:
        ready, _, _ = select.select([terminal], [], [], end - time.monotonic())
        assert ready, heard
        heard += os.read(terminal, 4096).decode(errors="replace")
    return heard
