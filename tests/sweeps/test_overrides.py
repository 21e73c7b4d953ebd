"""Overrides as Hydra means them: what merges, what counts, what can be an axis."""

import itertools
from decimal import Decimal

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from docs.keys import config_keys
from sweeps.config import hydra
from sweeps.config.config_files import conf_dir, groups
from sweeps.config.hashing import config_hash
from sweeps.config.hydra import composed_yaml
from sweeps.config.overrides import parse
from sweeps.config.request import TRIAL_KEYS, request, trial_from_plain
from sweeps.config.trial_keys import check_axis
from sweeps.errors import ConfigError
from sweeps.planning.plan import trials_of

NO_PART = "is no part of a trial: give one value$"


def hashes(*overrides):
    return [config_hash(point.trial) for point in request(overrides).trials]


def names(*overrides):
    return [trial.name for trial in trials_of(request(overrides))]


@pytest.mark.parametrize(
    ("swept", "typed", "labels"),
    [
        (
            "model.activation=tanh|model={width: 16},{width: 32}",
            ["model.activation=tanh|model.width=16", "model.activation=tanh|model.width=32"],
            ["width=16", "width=32"],
        ),
        (
            "train={steps: 20},{steps: 30}|train.eta=0.1",
            ["train.steps=20|train.eta=0.1", "train.steps=30|train.eta=0.1"],
            ["steps=20", "steps=30"],
        ),
        (
            "+axes={model: [{width: 16}, {activation: 'tanh'}]}|model.sigma_a=0.5",
            ["model.width=16|model.sigma_a=0.5", "model.activation=tanh|model.sigma_a=0.5"],
            ["width=16", "tanh"],
        ),
        ("data={n: 8},{n: 16}", ["data.n=8", "data.n=16"], ["n=8", "n=16"]),
        (
            "train={steps: 20},{steps: 30}|train={eta: 0.1},{eta: 0.2}",
            [f"train.steps={n}|train.eta={eta}" for n in (20, 30) for eta in (0.1, 0.2)],
            [f"steps={n} eta={eta}" for n in (20, 30) for eta in (0.1, 0.2)],
        ),
        # What permits a trial may stand beside what makes it another.
        (
            "model={sigma_w2: 0.2, allow_ill_posed: true},{sigma_w2: 0.1}",
            ["model.sigma_w2=0.2|model.allow_ill_posed=true", "model.sigma_w2=0.1"],
            ["sigma_w2=0.2 allow_ill_posed=True", "sigma_w2=0.1"],
        ),
    ],
)
def test_a_mapping_on_an_axis_merges(swept, typed, labels):
    assert hashes(*swept.split("|")) == [hashes(*one.split("|"))[0] for one in typed]
    assert names(*swept.split("|")) == labels


def test_a_mapping_that_is_drawn_merges():
    drawn = ["search=random", "search.samples=9", "model=choice({width: 8},{width: 16})"]
    assert set(hashes("model.activation=tanh", *drawn)) == set(
        hashes("model.activation=tanh", "model.width=8,16")
    )
    assert set(names(*drawn)) == {"width=8", "width=16"}


SETTINGS = st.sampled_from(
    [
        ("model.width", ["8"]),
        ("model.width", ["16", "32"]),
        ("++model.width", ["24", "8"]),
        ("model", ["{width: 4}"]),
        ("model", ["{width: 12}", "{activation: tanh}"]),
        ("train.eta", ["0.1", "0.2"]),
        ("train.eta", ["0.3"]),
        ("train", ["{eta: 0.4, steps: 7}"]),
        ("train", ["{steps: 8}", "{eta: 0.6, steps: 9}"]),
        ("data", ["sphere"]),
        ("data", ["digits", "sphere"]),
        ("data", ["{n: 8}", "{n: 9}"]),
        ("data.n", ["10"]),
        ("seed", ["${model.width}", "3"]),
    ]
)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, database=None)
@given(typed=st.lists(SETTINGS, min_size=2, max_size=3))
@example(typed=[("model.width", ["8", "16"]), ("model.width", ["32"])])
@example(typed=[("model.width", ["32"]), ("model.width", ["8", "16"])])
@example(typed=[("data", ["digits", "sphere"]), ("data", ["digits"])])
@example(typed=[("model.width", ["8", "16"]), ("model", ["{width: 4}"])])
@example(typed=[("model", ["{width: 12}", "{activation: tanh}"]), ("model.width", ["8"])])
@example(typed=[("seed", ["${model.width}", "3"]), ("model.width", ["16", "32"])])
def test_the_last_override_counts_as_in_hydra(typed):
    """The trials are those that Hydra composes from every combination, one at a time."""
    digests = hashes(*(f"{key}={','.join(values)}" for key, values in typed))
    expected = set()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for picked in itertools.product(*(values for _, values in typed)):
            pairs = zip(typed, picked, strict=True)
            config = compose("config", [f"{key}={value}" for (key, _), value in pairs])
            plain = OmegaConf.to_container(config, resolve=True)
            trial = trial_from_plain({key: plain[key] for key in TRIAL_KEYS})
            expected.add(config_hash(trial))
    assert set(digests) == expected


def test_an_override_that_a_later_one_replaces_names_no_trial():
    assert names("model.width=8,16", "model.width=32") == ["default"]
    assert names("train.eta=0.1,0.2", "train={eta: 0.3}") == ["default"]
    assert "model.width" not in composed_yaml(["model.width=8,16", "model.width=32"])
    eta = ["search=random", "search.samples=2", "train.eta=interval(0.1,1)"]
    assert names(*eta, "seed=interval(0,9)", "train.eta=0.3")[0].startswith("seed=")
    with pytest.raises(ConfigError, match="the axes name none"):
        request([*eta, "train.eta=0.3"])


def test_an_interpolation_follows_the_axes():
    assert hashes("train.steps=${model.width}", "model.width=8,16") == [
        *hashes("train.steps=8", "model.width=8"),
        *hashes("train.steps=16", "model.width=16"),
    ]
    axes = "+axes={train.steps: '${model.width}', model.width: [8, 16]}"
    assert hashes(axes) == hashes("train.steps=${model.width}", "model.width=8,16")
    with pytest.raises(ConfigError, match=f"^study {NO_PART}"):
        request(["study=w${model.width}", "model.width=8,16"])


def test_an_environment_variable_in_an_axis_and_beside_one(monkeypatch):
    """Beside one it has no part in the time per point: the points are not resolved one by one."""
    monkeypatch.setenv("PHI", "tanh")
    tanh = hashes("model.activation=relu,tanh")
    for variable in ("${oc.env:PHI}", "${env_or:PHI,sin}"):
        assert hashes(f"model.activation=relu,{variable}") == tanh
        assert hashes(f"+axes={{model.activation: [relu, '{variable}']}}") == tanh
    monkeypatch.setattr(hydra, "_resolved", None)
    assert hashes("model.activation=${oc.env:PHI}", "seed=0,1")[0] == tanh[1]


DECIMALS = st.decimals(-50, 50, places=3) | st.decimals(-1, 1, places=6)


@settings(max_examples=200, deadline=None)
@given(start=DECIMALS, step=DECIMALS.filter(bool), count=st.integers(1, 30), form=st.booleans())
@example(start=Decimal("0.1"), step=Decimal("0.1"), count=4, form=False)
@example(start=Decimal("1e-3"), step=Decimal("1e-3"), count=9, form=True)
@example(start=Decimal("0.3"), step=Decimal("-0.1"), count=7, form=False)
def test_a_decimal_range_is_the_list_typed_by_hand(start, step, count, form):
    def shown(number):
        return f"{number:e}" if form else f"{number:f}"

    parser = OverridesParser.create()
    stop = shown(start + count * step)
    swept = parse(parser, f"x=range({shown(start)},{stop},{shown(step)})", []).axis
    by_hand = [shown(start + i * step) for i in range(count)]
    listed = [parse(parser, f"x={value}", []).value for value in by_hand]
    assert swept == listed


def test_ranges_on_the_command_line_and_in_a_file():
    by_hand = hashes("train.eta=0.1,0.2,0.3,0.4")
    assert hashes("train.eta=range(0.1,0.5,0.1)") == by_hand
    assert hashes("+axes={train.eta: 'range(0.1,0.5,0.1)'}") == by_hand
    assert hashes("train.eta=range(0.4,0,-0.1)") == by_hand[::-1]
    assert hashes("train.eta=sort(range(0.1,0.8,0.1),reverse=true)")[-4:] == by_hand[::-1]
    assert set(hashes("train.eta=shuffle(range(0.1,0.5,0.1))")) == set(by_hand)
    assert hashes("seed=range(3)") == hashes("seed=0,1,2")
    assert [t.varying["seed"] for t in request(["seed=range(5,0,-2)"]).trials] == [5, 3, 1]


def test_every_key_says_whether_it_can_be_an_axis():
    for key in config_keys():
        if key.hashed or key.name == "data.path":  # another file is another trial, by its digest
            check_axis([key.name])
        else:
            with pytest.raises(ConfigError, match=f"^{key.name} {NO_PART}"):
                check_axis([key.name])
    for group in set(groups()) - {"data"}:
        with pytest.raises(ConfigError, match=f"^{group} {NO_PART}"):
            check_axis([group])


@pytest.mark.parametrize(
    "overrides",
    [
        "study=a,b",
        "study=choice(a,b)",
        "pack=range(1,3)",
        "size=laptop,paper",
        "cluster=local,inline",
        "cluster=glob(*)",
        "experiment=null,quickstart",
        "early_stopping=none,asha",
        "model.allow_ill_posed=true,false",
        "model={max_draws: 1},{max_draws: 2}",
        "cluster={cpus_per_trial: 1},{cpus_per_trial: 2}",
        "cluster.cpus_per_trial=interval(1,2)",
        "search.seed=interval(1,2)|search=random",
        "+cluster.resources.a=1,2",
        "+axes={cluster.cpus_per_trial:[1,2]}",
        "+axes={experiment:[quickstart,stability]}",
    ],
)
def test_an_axis_over_what_is_no_part_of_a_trial_is_refused(overrides):
    with pytest.raises(ConfigError, match=NO_PART) as error:
        request(overrides.split("|"))
    key = overrides.partition("=")[0].lstrip("+")
    assert str(error.value).startswith(key) or key == "axes" or "={" in overrides


def test_an_experiment_may_set_one_value_of_what_is_no_part_of_a_trial():
    asked = request(["+axes={study: [a], model.width: [8, 16]}"])
    assert asked.launch.study == "a"
    assert [t.varying for t in asked.trials] == [{"model.width": 8}, {"model.width": 16}]


def test_no_experiment_may_be_chosen():
    assert hashes("experiment=null") == hashes()
    assert hashes("experiment=quickstart", "experiment=null") == hashes()
    assert len(hashes("experiment=null", "experiment=quickstart")) == 12
