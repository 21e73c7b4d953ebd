"""Search spaces: what is an axis and what is drawn from, random draws, and what is refused."""

import math

import pytest

from sweeps.config.request import listed_trials, request
from sweeps.config.space import Interval
from sweeps.errors import ConfigError
from sweeps.planning.plan import trials_of

ETA = "train.eta=tag(log,interval(0.01,1))"
SMALL = ["data.n=8", "model.width=16"]


def drawn(*overrides):
    return [t.varying for t in request([*SMALL, "search=random", *overrides]).trials]


def test_every_cell_of_the_grid_gets_the_same_draws():
    points = drawn(ETA, "model.activation=relu,tanh", "search.samples=3", "seed=0,1")
    assert len(points) == 12
    by_cell = {}
    for varying in points:
        cell = varying["model.activation"], varying["seed"]
        by_cell.setdefault(cell, []).append(varying["train.eta"])
    assert len(by_cell) == 4
    assert len({tuple(etas) for etas in by_cell.values()}) == 1


def test_draws_follow_from_the_seed_alone():
    few = drawn(ETA, "search.samples=3")
    assert drawn(ETA, "search.samples=5")[:3] == few
    assert drawn(ETA, "search.samples=3", "search.seed=1") != few
    beside = drawn(ETA, "search.samples=3", "model.sigma_a=interval(0.5,1)")
    assert [v["train.eta"] for v in beside] == [v["train.eta"] for v in few]


def test_a_draw_can_be_typed_again():
    trials = trials_of(request([*SMALL, "search=random", ETA, "search.samples=4"]))
    for trial in trials:
        (again,) = trials_of(request([*SMALL, trial.name.replace("eta", "train.eta")]))
        assert again.config_hash == trial.config_hash


def test_draws_are_uniform_on_their_scale():
    logs = [math.log10(v["train.eta"]) for v in drawn(ETA, "search.samples=2000")]
    assert min(logs) >= -2
    assert max(logs) <= 0
    for edge in (-1.5, -1.0, -0.5):  # three standard errors of a fraction of 2000
        fraction = sum(v < edge for v in logs) / 2000
        assert fraction == pytest.approx((edge + 2) / 2, abs=3 * math.sqrt(0.25 / 2000))


def test_a_whole_number_key_gets_whole_numbers_both_ends_among_them():
    widths = [v["model.width"] for v in drawn("model.width=interval(8,11)", "search.samples=200")]
    assert set(widths) == {8, 9, 10, 11}
    assert all(isinstance(width, int) for width in widths)


def test_choice_is_drawn_from_where_the_search_draws_and_an_axis_elsewhere():
    activations = "model.activation=choice(relu,tanh)"
    points = drawn(activations, "search.samples=20")
    assert len(points) == 20
    assert {v["model.activation"] for v in points} == {"relu", "tanh"}
    assert len(request([activations]).trials) == 2
    frontier = request(["search=frontier", "train.eta=interval(0.5,4)", activations])
    assert len(frontier.trials) == 2
    assert list(frontier.launch.search.space) == ["train.eta"]


def test_an_experiment_file_may_name_intervals():
    axes = "+axes={train.eta: 'interval(0.1, 0.9)', seed: [0, 1]}"
    points = drawn(axes, "search.samples=2")
    assert len(points) == 4
    assert all(0.1 <= v["train.eta"] <= 0.9 for v in points)
    (one,) = {v["train.eta"] for v in drawn(axes, "search.samples=2", "train.eta=choice(0.5)")}
    assert one == 0.5


def test_a_part_is_halved_until_nothing_lies_between():
    whole, ratio = Interval(4, 9), Interval(0.01, 1.0, "log")
    assert whole.between(4, 9) == 6
    assert whole.between(4, 6) == 5
    assert whole.between(4, 5) is None
    assert ratio.between(0.01, 1.0) == pytest.approx(0.1)
    assert Interval(0.0, 1.0).between(0.5, math.nextafter(0.5, 1)) is None


def test_trials_that_follow_from_results_cannot_be_listed():
    with pytest.raises(ConfigError, match="follow from results"):
        listed_trials(request(["search=optuna", ETA]))
    assert len(listed_trials(request(["search=random", ETA, "search.samples=3"]))) == 3


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["train.eta=interval(0.1,1)"], r"range\(\)"),
        (["search=random"], "draws from intervals"),
        (["search=optuna", "model.width=8,16"], "draws from intervals"),
        (["search=random", ETA, "search.samples=0"], "samples must be"),
        (["search=random", "train.eta=interval(1,1)"], "must be below"),
        (["search=random", "train.eta=tag(log,interval(0,1))"], "above 0"),
        (["search=random", "train.eta=interval(-1,1)"], "eta must be finite and above 0"),
        (["search=random", "model.width=interval(0,9)"], "width must be at least 1"),
        (["search=random", "model.width=interval(1.5,9)"], "whole numbers"),
        (["search=random", "model.activation=choice(relu,rleu)"], "choose from"),
        (["search=random", "model.activation=interval(0,1)"], "is no number"),
        (["search=random", "model.widht=interval(1,9)"], r"model\.width"),
        (["search=random", "train.eta=interval(0.1,1),interval(2,3)"], "several intervals"),
        (["search=optuna", ETA, "search.metric=rate/mesured"], "rate/measured"),
        (["search=optuna", ETA, "search.mode=least"], "'min' or 'max'"),
        (["search=optuna", ETA, "search.concurrent=0"], "concurrent"),
        (["search=frontier"], "name 0"),
        (["search=frontier", ETA, "model.width=interval(8,16)"], "name 2"),
        (["search=frontier", ETA, "search.condition=stabel"], "no condition"),
        (["search=frontier", ETA, "search.condition='rate/mesured>1'"], "rate/measured"),
        (["search=frontier", ETA, "search.tolerance=0"], "tolerance"),
        (["search=rnadom", ETA], "random"),
        ([ETA, "search.samples=3"], "search"),
    ],
)
def test_a_wrong_search_space_is_refused_in_one_line(overrides, match):
    with pytest.raises(ConfigError, match=match) as error:
        request(overrides)
    assert "\n" not in str(error.value)
