"""`sweeps theory`: predictions for composed trials without training."""

import json
import re
import sys

import pytest
from click.testing import CliRunner

import deq
from sweeps.cli import cli, main
from sweeps.config.hashing import config_hash
from sweeps.config.request import request
from sweeps.errors import ConfigError
from sweeps.inspect.forecast import forecasts

SMALL = ["data.n=8", "train.steps=40", "model.width=16"]
AXES = ["model.activation=relu,tanh", "seed=0,1"]


def output_of(*words):
    done = CliRunner().invoke(cli, ["theory", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPS_OUTPUT", raising=False)
    yield
    assert list(tmp_path.iterdir()) == []


def test_json_names_every_trial_and_number():
    output = json.loads(output_of(*SMALL, *AXES, "--json", "--loss", "1e-3"))
    trials = request([*SMALL, *AXES]).trials
    assert output["loss"] == 1e-3
    assert [t["config_hash"] for t in output["trials"]] == [config_hash(t.trial) for t in trials]
    assert output["trials"][3]["trial"] == "tanh seed=1"
    expected = {f"theory/slack_{k}" for k in (7, 8, 9, 10)} | {
        "theory/lambda_0",
        "theory/lambda_star",
        "rate/bound",
        "rate/population",
        "rate/linearized",
        "rate/asymptotic",
        "train/eta",
        "cost/products_floor",
        "cost/products_cold",
        "cost/products_steps",
        "cost/flop_floor",
        "cost/flop_cold",
        "cost/bytes",
    }
    for trial in output["trials"]:
        assert expected <= trial["metrics"].keys()
        assert trial["steps_to_loss"] > 0
    assert len({t["steps_to_loss"] for t in output["trials"]}) > 1


def test_the_table_shows_conditions_rates_and_cost():
    text = output_of(*SMALL, *AXES)
    for word in ("relu seed=0", "(10)", "lambda_*", "linearised", "steps to 1e-06", "FLOP"):
        assert word in text
    assert "over the budget" in text


def test_the_cheaper_integrator_is_named():
    axes = ["model.activation=relu,tanh", "train.steps=20,20000", "model.width=512", "data.n=32"]
    text = output_of(*axes)
    rows = [row.split() for row in text.partition("by train.integrator")[2].splitlines() if row]
    advice = [row[-1] for row in rows if "relu" in row[0] or "tanh" in row[0]]
    assert advice == ["steps", "windows"] * 2
    trials = json.loads(output_of(*axes, "--json"))["trials"]
    assert all("cost/products_windows" in trial["metrics"] for trial in trials)
    other = json.loads(output_of(*axes, "solver.name=anderson", "--json"))["trials"]
    assert not any("cost/products_windows" in trial["metrics"] for trial in other)
    metrics = trials[-1]["metrics"]
    assert metrics["cost/products_windows"] < 0.1 * metrics["cost/products_steps"]


def test_a_loss_that_is_never_reached_has_no_steps():
    assert "not within 1e+09" in output_of(*SMALL, "train.eta=1.5")
    output = json.loads(output_of(*SMALL, "train.eta=1.5", "--json"))
    assert output["trials"][0]["steps_to_loss"] is None


def test_the_reason_for_an_absent_number_is_printed():
    loose = ["model.sigma_w2=0.2", "model.allow_ill_posed=true", "solver.max_steps=5000"]
    assert "no theory/slack: L ||W(0)||_2 >= 1" in output_of(*SMALL, *loose)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["model.widht=3"], "model.width"),
        (["--loss", "0"], r"\(0, 1\)"),
        (["--loss", "1"], r"\(0, 1\)"),
        (["--loss", "nan"], r"\(0, 1\)"),
        ([*SMALL, "model.init=redraw", "model.max_draws=2"], "none of 2 networks"),
        ([*SMALL, "--depth", "0"], "--depth=0: give a number of layers in 1 "),
        ([*SMALL, "--figure", "x.png"], "--figure=x.png: .* --depth"),
        ([*SMALL, "--depth", "3", "--figure", "d.pdf"], "--figure=d.pdf: .* PNG, name it d.png"),
        ([*SMALL, "--depth", "3", "--figure", "/none/x.png"], "--figure=/none/x.png: "),
        ([*SMALL, "model.init=again"], "redraw"),
        (["data.n=8", "model.width=100000000"], "needs .* of memory.* lower model.width"),
        ([*SMALL, "model.max_draws=0"], "max_draws must be at least 1"),
        ([*SMALL, "model.sigma_w2=5", "model.allow_ill_posed=true"], "the equilibrium at step 0"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(monkeypatch, capsys, words, match):
    monkeypatch.setattr(sys, "argv", ["sweeps", "theory", *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert re.search(match, line), line


def test_depths_are_printed_drawn_and_given_as_json(tmp_path_factory):
    words = [*SMALL, "--depth", "6", "model.activation=relu,tanh"]
    figure = tmp_path_factory.mktemp("figure") / "depth.png"
    text = output_of(*words, "--figure", str(figure))
    assert figure.read_bytes().startswith(b"\x89PNG")
    trials = json.loads(output_of(*words, "--json"))["trials"]
    assert [trial["trial"] for trial in trials] == ["relu", "tanh"]
    for trial in trials:
        (row,) = [line.split() for line in text.splitlines() if line.startswith(trial["trial"])]
        assert float(row[1]) == pytest.approx(trial["factor"], rel=1e-3)
        assert len(trial["change"]) == len(trial["least_untied"]) == 6
        (one,) = request([*SMALL, f"model.activation={trial['trial']}"]).trials
        assert deq.finite_depth(one.trial, 6).change == trial["change"]


def test_the_error_names_the_refused_trial():
    asked = request([*SMALL, "model.init=gaussian,redraw", "model.max_draws=1"])
    with pytest.raises(ConfigError, match=r"^init=redraw: "):
        list(forecasts(asked, 1e-3))


def test_redraw_changes_the_hash_and_max_draws_does_not():
    def digest(*words):
        (composed,) = request(words).trials
        return config_hash(composed.trial)

    assert digest() == digest("model.init=gaussian") == digest("model.max_draws=7")
    assert digest("model.init=redraw") != digest()
    assert digest("model.init=redraw") == digest("model.init=redraw", "model.max_draws=7")


def test_new_keys_change_the_hash_away_from_their_defaults_only():
    def digest(*words):
        (composed,) = request(["data.n=8", *words]).trials
        return config_hash(composed.trial)

    defaults = ["train.momentum=0", "data.test_n=0", "data.bias=0", "train.factor_bias=1"]
    defaults += ["data.norm=1", "data.labels=own", "data.label_seed=0", "data.centred=true"]
    defaults += ["train.factor_w=1", "train.factor_u=1.0", "train.factor_a=1e0", "train.batch=8"]
    nulls = ["train.batch=null", "train.factor_bias=null"]
    assert digest(*defaults) == digest(*defaults, *nulls) == digest()
    others = ["train.momentum=0.5", "train.batch=4", "data.test_n=2", "data.norm=0.5"]
    others += ["data.labels=uniform", "data.centred=false"]
    others += ["train.factor_w=1/m", "train.factor_u=2/d", "train.factor_a=0.5", "data.bias=1"]
    assert len({digest(), *map(digest, others)}) == 1 + len(others)


def test_a_dry_run_names_the_cheaper_integrator():
    words = ["run", "--dry-run", "train.steps=20000", "data.n=32", "model.activation=tanh"]
    mixed = ["solver.name=anderson,picard"]

    def cost(*more):
        output = CliRunner().invoke(cli, [*words, *more]).stdout
        return next(line for line in output.splitlines() if line.startswith("estimated cost: "))

    steps = "estimated cost: 2.6e+11 FLOP by single steps, "
    windows = "5.8e+09 with train.integrator=windows; "
    assert cost() == f"{steps}{windows}it takes single steps; windows pay"
    assert cost("train.integrator=windows") == f"{steps}{windows}it takes windows"
    assert cost("train.integrator=steps,windows").endswith(
        "1 of 2 trials take windows; windows pay in 1 of 2 trials"
    )
    assert cost(*mixed).endswith("it takes single steps; windows pay in 1 of 2 trials")
    assert cost("solver.name=anderson").endswith(
        "which train.integrator=windows cannot replace here"
    )
    assert cost("model.activation=relu").endswith("windows pay")
    assert cost("train.steps=20").endswith("it takes single steps")
    assert cost("dtype=float32", "solver.tol=1e-6").endswith("it takes single steps")
    plan = CliRunner().invoke(cli, [*words, *mixed, "--json"]).stdout
    costs = [trial["cost"] for trial in json.loads(plan)["trials"]]
    assert [cost["take"] for cost in costs] == ["steps", "windows"]
    assert costs[0]["products_windows"] is None
    assert costs[1]["products_windows"] < 0.1 * costs[1]["products_steps"]
