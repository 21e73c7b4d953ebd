"""Early stopping by ASHA: which trials end, how they are marked, and that they are no results."""

import json

import pytest
from click.testing import CliRunner
from command import client, runs, sweeps

import deq
from sweeps.cli import cli
from sweeps.config.early_stopping import STOPPED, AshaConfig, Stopping, rung_losses
from sweeps.config.request import request
from sweeps.errors import ConfigError
from sweeps.execution.asha import Asha
from sweeps.execution.events import Done
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.worker import run_pack, train_on_worker
from sweeps.planning.outcomes import TrialOutcome, seed_groups
from sweeps.planning.plan import trials_of

pytestmark = pytest.mark.slow

SMALL = ["data=sphere", "data.n=8", "data.d=8", "model.width=16", "train.steps=60"]
ETAS = [0.9, 0.5, 0.3, 0.2, 0.1]
AXIS = f"train.eta={','.join(str(eta) for eta in ETAS)}"
ASHA = ["early_stopping=asha", "early_stopping.min_steps=5", "early_stopping.reduction_factor=2"]


def test_the_rungs():
    assert AshaConfig(min_steps=5, reduction_factor=2).rungs(60) == [5, 10, 20, 40]
    assert AshaConfig(min_steps=5, reduction_factor=2).rungs(40) == [5, 10, 20]
    assert AshaConfig().rungs(50) == []


def test_a_trial_among_the_best_at_its_rung_continues():
    judge = Asha(AshaConfig(min_steps=5, reduction_factor=2), {})
    assert not judge.should_stop("a", 5, 0.5)  # the first one there
    assert judge.should_stop("b", 5, 0.6)
    assert not judge.should_stop("c", 5, 0.4)
    assert not judge.should_stop("c", 10, 0.9)  # the first one at this rung
    assert judge.should_stop("a", 10, 1.0)
    later = Asha(AshaConfig(min_steps=5, reduction_factor=2), {"a": {5: 0.5}})
    assert later.should_stop("b", 5, 0.6)


def test_a_stopped_trial_does_not_change_the_others_of_its_pack():
    trials = trials_of(request([*SMALL, "train.eta=0.2,0.5,0.9"]))
    plains = [trial.plain for trial in trials]
    asked = []

    def ask(digest, step, ratio):
        asked.append((digest, step, ratio))
        return digest == trials[1].config_hash and step == 20

    config = AshaConfig(min_steps=5, reduction_factor=2)
    whole = {
        m.record.config_hash: m.record for m in run_pack(plains, "cpu", 1) if isinstance(m, Done)
    }
    cut = train_on_worker(plains, WorkerSettings("cpu", 1, None, Stopping(config, ask)))
    records = {m.record.config_hash: m.record for m in cut if isinstance(m, Done)}
    for trial in (trials[0], trials[2]):
        mine, theirs = records[trial.config_hash], whole[trial.config_hash]
        assert mine.status == theirs.status == "budget"
        assert mine.trajectory["loss"] == pytest.approx(theirs.trajectory["loss"], rel=1e-6)
        rungs = [(step, ratio) for digest, step, ratio in asked if digest == trial.config_hash]
        assert dict(rungs) == pytest.approx(rung_losses(config, theirs.trajectory, 60), rel=1e-6)
        assert [step for step, _ in rungs] == [5, 10, 20, 40]
    stopped = records[trials[1].config_hash]
    assert stopped.status == STOPPED
    assert stopped.summary["train/stopped_at"] == stopped.trajectory["step"][-1] == 20
    assert not {key for key in stopped.summary if key.startswith("rate/measured")}
    assert "censored" in stopped.notes["rate/measured"]
    assert stopped.trajectory["loss"] == pytest.approx(
        whole[stopped.config_hash].trajectory["loss"][:21], rel=1e-6
    )


def test_means_leave_out_groups_with_stopped_seeds():
    trials = trials_of(request([*SMALL, "seed=0,1"]))
    summary = {"rate/measured": 0.1, "theory/lambda_star": 0.2}
    lines = [TrialOutcome(trials[0], "budget", summary), TrialOutcome(trials[1], "budget", summary)]
    (cell,) = seed_groups(lines)
    assert cell.mean("rate/measured").value == 0.1
    lines[1] = TrialOutcome(trials[1], STOPPED, {"theory/lambda_star": 0.2})
    (cell,) = seed_groups(lines)
    assert cell.mean("rate/measured") is None
    assert cell.mean("theory/lambda_star").value == 0.2


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["early_stopping=asha", "early_stopping.min_steps=0"], "min_steps"),
        (["early_stopping=asha", "early_stopping.reduction_factor=1"], "reduction_factor"),
        (["early_stopping=ahsa"], "asha, none"),
        ([*ASHA, "search=frontier", "train.eta=interval(0.5,4)"], "cut short"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(words, match):
    with pytest.raises(ConfigError, match=match) as error:
        request(words)
    assert "\n" not in str(error.value)


def test_a_stopped_trial_is_marked_and_counts_only_for_its_sweep(tmp_path, monkeypatch):
    """On Ray, where Asha is an actor, with two trials in a pack."""
    done = sweeps("run", *SMALL, AXIS, *ASHA, "pack=2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    states = {trial["config_hash"]: trial["status"] for trial in result["trials"]}
    stopped = {digest for digest, state in states.items() if state == STOPPED}
    assert 1 <= len(stopped) < len(ETAS)
    api = client(tmp_path / "outputs")
    (parent,), trials = runs(api)
    assert {run.data.tags["sweeps.config_hash"] for run in trials} == set(states) - stopped
    marked = api.search_runs([parent.info.experiment_id], "tags.`sweeps.early_stopped` = 'true'")
    assert {run.data.tags["sweeps.config_hash"] for run in marked} == stopped
    for run in marked:
        assert run.info.status == "KILLED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        step = int(run.data.tags["sweeps.early_stopped_step"])
        assert step in (5, 10, 20, 40)
        assert "rate/measured" not in run.data.metrics
        assert max(p.step for p in api.get_metric_history(run.info.run_id, "train/loss")) == step
    page = (tmp_path / "outputs" / "sweeps" / result["sweep"] / "report.html").read_text()
    assert page.count("its rate is censored") == len(stopped)

    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path / "outputs"))
    again = CliRunner().invoke(cli, ["run", *SMALL, AXIS, *ASHA, "cluster=inline"])
    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.output
    status = CliRunner().invoke(cli, ["status", result["sweep"], "--json"])
    assert [t["state"] for t in json.loads(status.output)[0]["trials"]].count(STOPPED) == len(
        stopped
    )
    unknown = CliRunner().invoke(cli, ["reproduce", min(stopped)])
    assert "0 finished trials" in str(unknown.exception)
    whole = CliRunner().invoke(cli, ["run", *SMALL, AXIS, "cluster=inline", "--json"])
    assert whole.exit_code == 0, whole.output
    full = json.loads(whole.stdout)
    assert full["sweep"] != result["sweep"]
    assert {t["config_hash"] for t in full["trials"] if not t["reused"]} == stopped
    assert {t["status"] for t in full["trials"]} <= {s.value for s in deq.Status} - {STOPPED}
    assert len(runs(api)[1]) == len(ETAS)
