"""Searches that learn: replay, Optuna against random, bisection, what they leave in the record."""

import json
import statistics

import numpy as np
import optuna
import pytest
import yaml
from click.testing import CliRunner
from command import client, inside, runs, started
from imagined import SMALL, Imagined

import deq
from sweeps.cli import cli
from sweeps.config.hashing import config_hash
from sweeps.config.request import request
from sweeps.config.search import FrontierConfig
from sweeps.driver.sweep_state import SweepState, TrialStates
from sweeps.errors import ConfigError
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import plan, trials_of
from sweeps.search.best import best_points
from sweeps.search.bisection import Bracket
from sweeps.search.factory import Proposer, choice_trials
from sweeps.search.frontiers import boundaries
from sweeps.search.registry import summarize
from sweeps.storage.ledger import reading

OPTUNA = ["search=optuna", "train.eta=interval(0.1,4)"]
FRONTIER = ["search=frontier", "train.eta=interval(0.5,8)", "search.tolerance=0.1"]


def hill(varying):
    """Highest at eta = 1.3, and nothing beyond 2."""
    return None if varying["train.eta"] > 2 else -((varying["train.eta"] - 1.3) ** 2)


@pytest.mark.parametrize("search", [[*OPTUNA, "search.samples=10"], FRONTIER])
def test_a_search_launched_again_asks_for_nothing_and_a_killed_one_goes_on(search):
    whole = Imagined([*search, "seed=0,1"], hill)
    sweep = whole.launch()
    count = len(whole.rounds)
    assert count > 2
    assert whole.launch().reused == {t.config_hash for t in sweep.trials}
    assert len(whole.rounds) == count
    killed = Imagined([*search, "seed=0,1"], hill)
    killed.launch(most=2)
    done = killed.launch()
    assert killed.rounds == whole.rounds
    assert done.sweep == sweep.sweep
    assert [t.config_hash for t in done.trials] == [t.config_hash for t in sweep.trials]


def other_version(monkeypatch):
    """An Optuna that samples other points than the installed one."""

    def sampler(seed, constant_liar):
        return optuna.samplers.RandomSampler(seed=seed + 1)

    monkeypatch.setattr(optuna.samplers, "TPESampler", sampler)


@pytest.mark.parametrize("rounds", [1, 2])
def test_an_optuna_that_samples_otherwise_goes_on_with_what_was_asked(rounds, monkeypatch):
    words = [*OPTUNA, "model.activation=choice(relu,tanh)", "search.samples=10", "seed=0,1"]
    search = Imagined([*words, "model.width=8,16"], hill)
    killed = search.launch(most=rounds)  # of its trials those of the last round are under way
    other_version(monkeypatch)
    resumed = search.launch(asked=killed.trials)
    trained = [name for names in search.rounds for name in names]
    assert sorted(set(trained)) == sorted(t.name for t in resumed.trials)
    assert len(trained) == len(set(trained))
    assert len(resumed.trials) == 10 * 2 * 2
    assert resumed.trials[: len(killed.trials)] == killed.trials
    again = search.launch(asked=resumed.trials)
    assert again.trials == resumed.trials
    assert again.trained == set()


def test_a_resumed_search_asks_for_what_the_whole_one_asks_for():
    words = [*OPTUNA, "search.samples=20"]
    whole, killed = Imagined(words, hill), Imagined(words, hill)
    whole.launch()
    killed.launch(asked=killed.launch(most=3).trials)
    assert killed.rounds == whole.rounds


@pytest.mark.slow
def test_a_killed_command_goes_on_with_another_optuna(tmp_path, monkeypatch):
    words = ["run", *SMALL, *OPTUNA, "search.samples=4", "search.concurrent=2"]
    record_results = SweepState.record_results

    def killed(self, planned, states):
        record_results(self, planned, states)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SweepState, "record_results", killed)
        assert inside(*words, cwd=tmp_path).returncode == 130
    other_version(monkeypatch)
    planned = inside(*words, "--dry-run", cwd=tmp_path)
    assert "2 finished" in planned.stdout, planned.stdout
    done = inside(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with reading(tmp_path / "outputs" / "ledger.db") as ledger:
        (entry,) = ledger.sweeps_like("")
        hashes = [trial["config_hash"] for trial in entry.spec["trials"]]
        assert len(hashes) == 4
        assert set(ledger.results(hashes)) == {config for config, _ in ledger.configs()}


def test_more_samples_go_on_where_fewer_ended():
    few = Imagined([*OPTUNA, "search.samples=8"], hill)
    sweep = few.launch()
    more = Imagined([*OPTUNA, "search.samples=16"], hill)
    more.results = dict(few.results)
    longer = more.launch()
    assert longer.sweep != sweep.sweep
    assert longer.reused == {t.config_hash for t in sweep.trials}
    assert sum(len(names) for names in more.rounds) == 8


@pytest.mark.slow
def test_optuna_finds_better_points_than_random_draws():
    space = ["train.eta=interval(0.1,4)", "model.sigma_a=interval(0.1,4)", "search.samples=32"]

    def loss(varying):
        return (varying["train.eta"] - 1.3) ** 2 + (varying["model.sigma_a"] - 0.7) ** 2

    points = {}
    for name in ("optuna", "random"):
        best = []
        for seed in range(5):
            words = [f"search={name}", f"search.seed={seed}", *space]
            if name == "optuna":
                words.append("search.mode=min")
            best.append(min(loss(t.varying) for t in Imagined(words, loss).launch().trials))
        points[name] = statistics.median(best)
    assert points["optuna"] < 0.5 * points["random"]


def test_points_that_diverge_drive_the_search_away():
    """Told as failures they would be forgotten, and half the points would still diverge."""
    lost = []
    for seed in range(3):
        search = Imagined([*OPTUNA, "search.samples=40", f"search.seed={seed}"], hill)
        (best,) = best_points(search.asked.launch.search, search.lines(search.launch()))
        assert best.tried == 40
        assert best.values["train.eta"] == pytest.approx(1.3, abs=0.2)
        lost.append(best.lost)
    assert statistics.mean(lost) < 13


def test_the_objective_is_the_mean_over_seeds_in_every_cell_by_itself():
    """The first seed alone is best at 1; the mean at 3, and there the search comes to."""

    def rate(varying):
        slope = 1 if varying["seed"] else -1
        eta = varying["train.eta"]
        return 2 * slope * eta - 0.5 * (eta - 3) ** 2 + (varying["model.activation"] == "tanh")

    words = [*OPTUNA, "search.samples=24", "seed=0,1", "model.activation=relu,tanh"]
    search = Imagined(words, rate)
    sweep = search.launch()
    assert len(sweep.trials) == 24 * 4
    points = best_points(search.asked.launch.search, search.lines(sweep))
    assert [best.cell for best in points] == [{"model.activation": a} for a in ("relu", "tanh")]
    for best, top in zip(points, (0, 1), strict=True):
        assert best.values["train.eta"] == pytest.approx(3, abs=0.3)
        assert best.value == pytest.approx(top, abs=0.05)
        assert [v for _, v in best.history] == sorted(v for _, v in best.history)
    last = [t.varying["train.eta"] for t in sweep.trials[-32:]]
    assert statistics.median(last) == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize(
    ("words", "rate", "ends", "kind"),
    [
        (["train.eta=interval(0.5,8)"], hill, (2, 2.0), "largest"),
        (["train.eta=tag(log,interval(0.01,8))"], hill, (2, 2.0), "largest"),
        (["train.eta=interval(0.1,1)"], hill, None, "everywhere"),
        (["train.eta=interval(3,4)"], hill, None, "nowhere"),
        (
            ["model.width=interval(8,64)", 'search.condition="theory/slack_7 >= 1"'],
            lambda varying: varying["model.width"] / 37,
            (36, 37),
            "smallest",
        ),
    ],
)
def test_bisection_brackets_where_the_condition_ends(words, rate, ends, kind):
    search = Imagined(["search=frontier", *words], rate, "theory/slack_7")
    sweep = search.launch()
    config = search.asked.launch.search
    (edge,) = boundaries(config, search.lines(sweep))
    assert edge.bracket.kind == kind
    assert search.more == list(range(search.more[0], search.more[0] - len(search.more), -1))
    if ends is None:
        assert len(sweep.trials) == 2
        assert f"held {kind}" in summarize(config, search.lines(sweep)).rows[0][1]
        return
    assert search.more[-1] <= config.interval.integer  # a half of five is two or three
    low, high = edge.bracket.ends
    assert low <= ends[0]
    assert ends[1] <= high
    if config.interval.integer:
        assert (low, high) == ends
    elif config.interval.scale == "log":
        assert high / low <= 1 + config.tolerance
    else:
        assert high - low <= config.tolerance


def test_a_probe_that_failed_ends_its_cell_alone_and_says_so():
    search = Imagined([*FRONTIER, "seed=0,1"], hill)
    search.failing = {"seed=0 eta=4.25"}
    sweep = search.launch()
    broken, whole = boundaries(search.asked.launch.search, search.lines(sweep))
    assert broken.bracket.ends == (0.5, 8)
    assert summarize(search.asked.launch.search, search.lines(sweep)).rows[0][1] == "unknown: no"
    assert whole.bracket.ends[1] - whole.bracket.ends[0] <= 0.1


def test_a_probe_under_way_is_no_answer_yet():
    search = Imagined(FRONTIER, hill)
    sweep = search.launch(most=3)
    lines = search.lines(sweep)
    waiting = [*lines[:-1], TrialOutcome(lines[-1].planned, "missing")]
    (row,) = summarize(search.asked.launch.search, waiting).rows
    assert row[1:] == ["so far largest in [0.5, 2.375]", "0.5", "2.375"]


@pytest.mark.parametrize("status", ["missing", "stopped by a person"])
@pytest.mark.parametrize("count", [0, 1])
def test_without_both_ends_of_the_interval_nothing_is_known(count, status):
    search = Imagined(FRONTIER, hill)
    lines = search.lines(search.launch(most=1))
    lines = lines[:count] + [TrialOutcome(line.planned, status) for line in lines[count:2]]
    summary = summarize(search.asked.launch.search, lines)
    assert [row[1:] for row in summary.rows] == [["not known yet", "-", "-"]]
    assert not any(summary.by_cell.values())


OWN = """import torch
import deq
wave = deq.Activation("wave", torch.sin, torch.cos, 1.0, 1.0, 0.0, True)
"""


def test_a_point_is_the_trial_that_its_values_typed_are(tmp_path, monkeypatch):
    """Digests of the cell's own activation and data are recorded anew."""
    (tmp_path / "own_phi.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez(tmp_path / "own.npz", x=np.eye(6), y=np.ones(6))
    cell = [*SMALL[3:], "data=npz", f"data.path={tmp_path}/own.npz", "data.n=6"]
    space = ["model.activation=choice(relu,own_phi:wave)", "data.n=choice(4,6)"]
    asked = request([*cell[:-1], "search=optuna", *space])
    cells = trials_of(asked)
    propose = Proposer(asked.launch, cells)
    for activation in ("own_phi:wave", "relu"):
        for n in (4, 6):
            point = propose(cells[0], {"model.activation": activation, "data.n": n})
            (typed,) = request([*cell, f"model.activation={activation}", f"data.n={n}"]).trials
            assert point.config_hash == config_hash(typed.trial)
    chosen = [trial.plain["model"]["activation"] for trial in choice_trials(asked.launch, cells)]
    assert chosen[:2] == ["relu", "own_phi:wave"]


def test_the_largest_trial_of_a_space_must_fit(monkeypatch):
    words = ["search=frontier", "model.width=interval(16,2000)"]
    search = Imagined(words, hill)
    monkeypatch.setattr(deq, "memory_of", lambda device: 10**7)
    with pytest.raises(ConfigError, match="width=2000"):
        search.launch()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command line in this very process; what it prints on stdout."""
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path / "outputs"))

    def call(*words):
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output or done.exception
        return done.stdout

    return call


@pytest.mark.slow
def test_the_bracket_of_real_trainings_agrees_with_a_fine_grid(command, tmp_path):
    result = json.loads(command("run", *SMALL, *FRONTIER, "--json"))
    (row,) = result["found"]
    held, failed = float(row["held at"]), float(row["failed at"])
    assert 0 < failed - held <= 0.1
    etas = [0.6 + 0.2 * k for k in range(10)]
    grid = request([*SMALL, f"train.eta={','.join(f'{eta:g}' for eta in etas)}"]).trials
    ended = [deq.train(point.trial).status for point in grid]
    for eta, status in zip(etas, ended, strict=True):
        assert (status is deq.Status.DIVERGED) == (eta > (held + failed) / 2), eta
    api = client(tmp_path / "outputs")
    (parent,), trials = runs(api)
    assert parent.data.metrics["frontier/held/all"] == held
    assert parent.data.metrics["frontier/failed/all"] == failed
    assert r"largest in \[" in parent.data.tags["mlflow.note.content"]
    names = {file.path for file in api.list_artifacts(parent.info.run_id)}
    assert {"frontier.png", "search.yaml"} <= names
    page = (tmp_path / "outputs" / "sweeps" / result["sweep"] / "report.html").read_text()
    assert "Frontier of train.eta" in page
    status = json.loads(command("status", result["sweep"], "--json"))
    assert status[0]["found"] == result["found"]
    assert len(trials) == len(result["trials"])


@pytest.mark.slow
def test_a_search_killed_between_rounds_is_finished_by_resume(command, tmp_path):
    words = ["run", *SMALL, *OPTUNA, "search.samples=10", "pack=1", "train.steps=30"]
    with started(*words, cwd=tmp_path) as process:
        for line in process.stdout:
            if "8 trials so far" in line:
                process.kill()
                break
        process.communicate(timeout=60)
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    result = json.loads(command("resume", folder.name, "--json"))
    assert result["sweep"] == folder.name
    assert len(result["trials"]) == 10
    assert sum(trial["reused"] for trial in result["trials"]) >= 4
    rates = [trial["metrics"].get("rate/measured") for trial in result["trials"]]
    best = max(rate for rate in rates if rate is not None)
    (parent,), trials = runs(client(tmp_path / "outputs"))
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["search/best/default"] == best
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == len(trials) == 10
    config = yaml.safe_load((folder / "search.yaml").read_text())
    assert (config["name"], config["samples"]) == ("optuna", 10)
    assert "nothing to do, all 10 trials" in command(*words)


def test_a_bracket_says_which_side_held():
    assert Bracket(1.0, 2.0).kind == "largest"
    assert Bracket(2.0, 1.0).kind == "smallest"
    assert FrontierConfig().condition == "stable"


def test_a_plan_is_made_once_and_anew_only_where_mlflow_knows_more(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "sweeps.driver.sweep_state.plan", lambda *a, **k: made.append(1) or plan(*a, **k)
    )
    done = inside("run", *SMALL, "train.steps=2", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(made) == 2  # before the trials are trained, and after
    search = Imagined(FRONTIER, lambda varying: varying["train.eta"])
    search.train(search.launch(most=0).trials)
    sweep = SweepState(
        search.asked.launch, search.cells, lambda trials: TrialStates(), retry_failed=False
    )
    planned = sweep.next_round()
    assert sweep.with_lookup(planned, lambda trials: TrialStates()) is planned
    later = sweep.with_lookup(planned, lambda trials: TrialStates(dict(search.results)))
    assert (planned.left, len(planned.finished)) == (2, 0)
    assert (len(later.finished), sweep.reused) == (2, {*search.results})
