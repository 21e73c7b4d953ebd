"""A trial that trains is a RUNNING run in MLflow; its finished run is as if sent at the end."""

import contextlib
import json
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from command import client, inside, runs, started
from records import RECORD
from services import AUTH, until

from sweeps.storage.ledger import Ledger
from sweeps.storage.step_metrics import Live, Point, points_of
from sweeps.tracking.live_runs import Ending, LiveRuns
from sweeps.tracking.runs import SweepPage
from sweeps.tracking.trial_runs import TrialRuns

pytestmark = pytest.mark.services

PLAIN = {"seed": 0, "data": {"name": "sphere", "n": 4, "d": 3, "seed": 0}}
WORDS = ["run", "data=sphere", "data.n=16", "model.width=32", "train.loss_tol=0", "train.eta=0.05"]
LIVE = ["tracking.live_seconds=0.2", "checkpoint.every_seconds=0.3"]
FAILS = """import torch
import deq

calls = 0

def tanh(x):
    global calls
    calls += 1
    if calls > 8_000:
        raise RuntimeError("the activation broke")
    return torch.tanh(x)

def slope(x):
    return 1 - torch.tanh(x) ** 2

curve = deq.Activation("curve", tanh, slope, 1.0, 0.7698003589195009, 0.0, True)
"""


def stored(api, run):
    """All points of a run in MLflow, with duplicates."""
    history = [api.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
    return sorted((m.key, m.step, m.timestamp, m.value) for part in history for m in part)


def whole(output, digest):
    """The content of a run that is sent at the end only."""
    with contextlib.closing(Ledger(output / "ledger.db")) as ledger:
        record = ledger.get(digest)
    points = points_of(record)
    points += [Point(k, v, 0, record.started) for k, v in record.summary.items()]
    return sorted((p.key, p.step, p.at, p.value) for p in points), record


def length(api, run):
    return len(api.get_metric_history(run.info.run_id, "curve/loss"))


def the_run(api):
    """The run of the only trial; None before it has its params, which follow its creation."""
    with contextlib.suppress(AttributeError, IndexError):  # not yet
        return next((run for run in runs(api)[1] if run.data.params), None)
    return None


@pytest.mark.parametrize("cluster", ["inline", "local"])
def test_a_killed_driver_leaves_a_run_that_the_next_launch_continues(tmp_path, slow, cluster):
    words = [*WORDS, *LIVE, "train.steps=600", f"cluster={cluster}"]
    output = tmp_path / "outputs"
    with started(*words, cwd=tmp_path, **slow) as sweep:
        until((output / "mlflow" / "mlflow.db").exists, 60, "a store")
        api = client(output)
        until(lambda: the_run(api), 60, "a run")
        run = the_run(api)
        assert run.info.status == "RUNNING"
        assert "sweeps.status" not in run.data.tags
        assert run.data.params["model.width"] == "32"
        first = length(api, run)
        until(lambda: length(api, run) > first, 30, "a longer curve")
        until(lambda: list(output.glob("checkpoints/*/step-*")), 30, "a checkpoint")
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    assert the_run(api).info.status == "RUNNING"
    before = stored(api, the_run(api))
    done = inside(*words, "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    parents, (last,) = runs(api)
    assert last.info.run_id == run.info.run_id, done.stdout + done.stderr
    assert [r.info.status for r in [*parents, last]] == ["FINISHED"] * 2
    expected, record = whole(output, last.data.tags["sweeps.config_hash"])
    assert record.environment["resumed_at"]
    assert last.data.tags["sweeps.status"] == record.status
    assert stored(api, last) == expected
    assert set(before) <= set(expected)


def test_a_trial_that_fails_or_is_interrupted_is_not_left_running(tmp_path, slow, monkeypatch):
    (tmp_path / "breaks.py").write_text(FAILS)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [*WORDS, *LIVE, "train.eta=0.001", "train.steps=100000", "cluster=inline"]
    broken = inside(*words, "model.activation=breaks:curve", cwd=tmp_path)
    assert broken.returncode == 1
    api = client(tmp_path / "outputs")
    (run,) = runs(api)[1]
    assert run.info.status == "FAILED"
    assert "the activation broke" in run.data.tags["sweeps.reason"]
    with started(*words, "study=cut", cwd=tmp_path, **slow) as sweep:
        until(
            lambda: api.get_experiment_by_name("cut") and points(runs(api, "cut")[1]), 60, "a run"
        )
        sweep.send_signal(signal.SIGINT)
        assert sweep.wait(60) == 130
    parents, (cut,) = runs(api, "cut")
    assert [r.info.status for r in [*parents, cut]] == ["KILLED"] * 2
    (state,) = json.loads(inside("status", "--json", cwd=tmp_path).stdout)[0]["trials"]
    step = (
        state["note"]
        .removeprefix("checkpoint of step ")
        .removesuffix(": resume goes on from there")
    )
    assert int(step) > 0
    sweep = parents[0].data.tags["sweeps.sweep"]
    assert cut.data.tags["mlflow.note.content"] == (
        f"Interrupted; {state['note']}. To continue: `sweeps resume {sweep}`."
    )


def points(trials):
    """True if a trial has made GD steps, so that its interruption leaves a checkpoint."""
    return any("train/loss" in run.data.metrics for run in trials)


def test_a_server_gets_a_running_trial_and_its_end(server, tmp_path, slow, monkeypatch):
    words = [*WORDS, *LIVE, "train.steps=100", "study=live", "cluster=inline"]
    words += ["tracking=server", f"tracking.uri={server.uri}"]
    api = server.client(monkeypatch)
    with started(*words, cwd=tmp_path, **AUTH, **slow) as sweep:
        until(lambda: api.get_experiment_by_name("live") and runs(api, "live")[1], 60, "a run")
        (run,) = runs(api, "live")[1]
        assert run.info.status == "RUNNING"
        (tmp_path / "mark").unlink()
        assert sweep.wait(120) == 0
    (last,) = runs(api, "live")[1]
    assert last.info.run_id == run.info.run_id
    expected, _ = whole(tmp_path / "outputs", last.data.tags["sweeps.config_hash"])
    assert stored(api, last) == expected


def test_live_seconds_are_not_negative(tmp_path):
    done = inside("run", "tracking.live_seconds=-1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == ("sweeps: tracking: live_seconds must be at least 0, not -1\n")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def store(tmp_path):
    """An experiment, two sweeps' pages, and a function that shows a trial of the first."""
    (tmp_path / "mlflow").mkdir()
    api = client(tmp_path)
    experiment = api.create_experiment("study", artifact_location=str(tmp_path / "artifacts"))
    pages = [
        SweepPage(experiment, api.create_run(experiment, tags=tags).info.run_id, "sweep")
        for tags in ({}, {"sweeps.lease": "9e9"})
    ]
    live = LiveRuns(api, TrialRuns(api, {}, exclusive=False), exclusive=False)
    trial = SimpleNamespace(config_hash="a" * 64, cell_hash="b" * 64, name="x", plain=PLAIN)

    def show(started, page=pages[0]):
        live.show(page, trial, Live("a" * 64, started, "cpu", [Point("train/loss", 1.0, 0, 5)]))
        return trials()

    def trials():
        return [r for r in api.search_runs([experiment]) if "sweeps.kind" in r.data.tags]

    return SimpleNamespace(api=api, pages=pages, show=show, trials=trials)


def test_a_trial_that_starts_anew_has_one_run(store):
    (first,) = store.show(1000)
    assert [r.info.run_id for r in store.show(1000)] == [first.info.run_id]
    (second,) = store.show(2000)
    assert second.info.run_id != first.info.run_id
    assert (second.info.start_time, second.info.status) == (2000, "RUNNING")


def test_runs_of_another_living_driver_and_finished_runs_are_not_changed(store):
    (theirs,) = store.show(1000, store.pages[1])
    assert [r.info.run_id for r in store.show(2000)] == [theirs.info.run_id]
    store.api.set_tag(store.pages[1].run, "sweeps.lease", "1")  # that driver is dead
    (ours,) = store.show(3000)
    assert ours.info.start_time == 3000
    store.api.set_terminated(ours.info.run_id, "FINISHED")
    assert [r.info.run_id for r in store.show(4000)] == [ours.info.run_id]


def test_a_trial_that_was_stopped_and_goes_on_gets_its_end(store):
    """Its run loses the mark of the stop when it trains again, and keeps its id."""
    runs = TrialRuns(store.api, {}, exclusive=True)
    live, digest = LiveRuns(store.api, runs, exclusive=True), "a" * 64
    trial = SimpleNamespace(config_hash=digest, cell_hash="b" * 64, name="x", plain=PLAIN)
    points = Live(digest, 1000, "cpu", [Point("train/loss", 1.0, 0, 1005)])
    live.show(store.pages[0], trial, points)
    live.close(Ending(digest, "KILLED", "stopped", "alice on here"))
    (stopped,) = store.trials()
    assert stopped.data.tags["sweeps.stopped_by"] == "alice on here"
    live.show(store.pages[0], trial, points)
    record = replace(RECORD, config_hash=digest, config=PLAIN, started=1000, finished=2000)
    runs.send(store.pages[0], "x", record, b"figure", None)
    (ended,) = store.trials()
    assert (ended.info.run_id, ended.info.status) == (stopped.info.run_id, "FINISHED")
    assert "sweeps.stopped_by" not in ended.data.tags
