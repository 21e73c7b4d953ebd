"""Overrides as Hydra means them: what merges, what counts, what can be an axis, what is refused."""

import itertools
import re
import shlex
from decimal import Decimal

import pytest
from command import inside
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import sweeps
from docs.keys import config_keys
from sweeps.config import hydra
from sweeps.config.condition import check_metric
from sweeps.config.config_files import conf_dir, groups
from sweeps.config.hashing import config_hash
from sweeps.config.hydra import composed_yaml
from sweeps.config.misspellings import OTHER_NAMES, nearest
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


REFUSED = {
    "data=null": "no such data; there is cifar10, digits",
    "data=5": "no such data; there is",
    "data=true": "no such data",
    "data=1.5": "no such data",
    "data=": "no such data",
    "data=[]": "no such data",
    "data=[null]": "no such data",
    "data=sphere,digt": "no such data",
    "search=null": "no such search; there is frontier",
    "~data=1": "to choose nothing, write ~data",
    "=5": "write KEY=VALUE",
    "study": "write KEY=VALUE",
    "seed=range(0,3,0)": "a step other than 0",
    "seed=range(0,inf)": "finite",
    "seed=range(true)": "finite",
    "seed=range(0,1000000000)": "at most 100000 values, not 1000000000",
    "seed=range(0,3),7": "give one",
    "data.classes=[range(0,3)]": "give one",
    "data=sphere,{n: 8}": "names of choices, or mappings, not both",
    "+axes={seed: []}": "the axis 'seed' has no values",
    "+axes={data: [sphere, 5]}": "data=5: no such data",
    "seed=${foo}": "seed=${foo}: Interpolation key 'foo' not found",
    "~seed=1,2": "an axis is written seed=VALUE,VALUE",
    "data@model=sphere,digits": "an axis is written data=VALUE,VALUE",
    "+seed=3": "+seed=3: Could not append",
    "model={widht: 8},{width: 16}": "no key 'model.widht'",
    "train={stepz: 5}": "did you mean 'train.steps'?",
    # The remedy of what the grammar cannot read, or does not mean.
    "study=李明": "\"study='李明'\"",
    "study=pink & green": "\"study='pink & green'\"",
    "data.path=~/x": "write data.path=/home/x/x",
    "study=~..": "~ has no meaning here, write the whole path",
    "cluster.resources={a: 1}": "'+cluster.resources={a: 1}'",
    "axes={seed: [1, 2]}": "'+axes={seed: [1, 2]}'",
    "data.name=sphere": "write data=sphere",
    "model.width=8,": "it ends where a value is expected",
    "hydra/launcher=joblib": "only hydra.searchpath=[FOLDER] has",
    "hydra.run.dir=x": "only hydra.searchpath=[FOLDER] has",
    "hydra.searchpath=[/x],[/y]": "only hydra.searchpath=[FOLDER] has",
    "hydra.searchpath=[/no/such/folder]": "there is no folder /no/such/folder",
    # What a newcomer types.
    "seed==3": "write seed=3, with one equals sign",
    "seed=range(0,3": "'(' is not closed; in a shell the whole override stands in quotes",
    "model=3": "model=3: set one of its keys (width, activation, ",
    "seed=[1,2]": "give one value, a whole number; an axis is written without brackets, seed=1,2",
    "seed=null": "seed=null: it should be a whole number",
    "axes.seed=1,2": "an axis is typed by its key alone, seed=1,2",
    "experiment=quikstart": "no such experiment; the nearest is quickstart; there is activations, ",
    "search.trials=3": "did you mean 'search.samples' of search=optuna or random?",
    "cluster.workers=3": "did you mean 'cluster.cpus_per_trial'?",
    "cluster.foo=1": "no such key: `sweeps show` prints all keys",
    "data.nme=x": "no such key: `sweeps show` prints all keys",
    "model.foo=1": "no such key: `sweeps show` prints all keys",
    "data.sed=1": "did you mean 'data.seed'?",
    "eta=1": "did you mean 'train.eta'?",
    "axes=[1,2]": "axes is a list, and should be a mapping, {KEY: VALUE}",
    "model=[1]": "model is a list, and should be a mapping, {KEY: VALUE}",
    "model.width=abc": "model.width=abc: it should be a whole number",
    "train.eta=abc": "train.eta=abc: it should be a number",
    "record.weights=maybe": "record.weights=maybe: it should be true or false",
    "pack=many": "pack=many: it should be a whole number or 'auto'",
}


def test_errors_of_hydra_become_one_line_and_nothing_is_written(tmp_path):
    for override, message in REFUSED.items():
        done = inside("run", override, cwd=tmp_path, HOME="/home/x")
        assert done.returncode == 2, (override, done.stderr)
        assert message in done.stderr, (override, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        key = override.lstrip("+~").partition("=")[0]
        assert key in done.stderr or key == "axes", done.stderr
    assert not list(tmp_path.iterdir())


def test_the_names_of_other_libraries_lead_to_keys_that_exist():
    keys = {key.name for key in config_keys()}
    assert set(OTHER_NAMES.values()) <= keys
    assert not set(OTHER_NAMES) & keys


def test_no_name_is_proposed_that_is_no_key_or_is_not_near():
    """`cluster.name` is one to the program; a user chooses by `cluster=NAME`."""
    keys = {key.name for key in config_keys()}
    assert {nearest(f"{group}.nam", [f"{group}.name", "data.n"]) for group in groups()} == {
        ": `sweeps show` prints all keys"
    }
    assert "solver.name" in keys
    assert nearest("solver.nme", keys) == ": did you mean 'solver.name'?"
    for far in ("cluster.foo", "train.zzz", "early_stopping.x", "solver.abc"):
        assert "did you mean" not in nearest(far, keys), far
    for near, name in {"modle.width": "model.width", "traineta": "train.eta"}.items():
        assert nearest(near, keys) == f": did you mean {name!r}?"


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("rate/nope", ": docs/reference.md, Summary metrics, lists them"),
        ("rate/mesured", ": did you mean 'rate/measured'?"),
        ("lambda_star", ": did you mean 'theory/lambda_star'?"),
    ],
)
def test_a_metric_is_proposed_if_it_is_near(metric, hint):
    with pytest.raises(ValueError, match="there is no metric") as error:
        check_metric(metric)
    assert str(error.value).endswith(hint)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sweeps.launch("model.width=64"), "give a list of texts, ['model.width=64']"),
        (lambda: sweeps.plan([64]), "give a list of texts"),
        (lambda: sweeps.compose({"seed": 3}), "give a list of texts"),
        (lambda: sweeps.compose(config_dir=3), "config_dir=3: name a folder, as text"),
        (lambda: sweeps.load_trial(None), "None is no hash"),
        (lambda: sweeps.load(12), "12 is no sweep's name"),
    ],
)
def test_a_wrong_argument_in_python_is_one_line(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("override", ["study=李明", "study=it's", "study=&a\\'", 'study=$x & "y"'])
def test_the_quoted_text_that_is_offered_is_that_text(override):
    with pytest.raises(ConfigError) as error:
        request([override])
    (offered,) = shlex.split(str(error.value).partition("quote the text, ")[2])
    assert f"study={request([offered]).launch.study}" == override


def test_hydras_search_path_brings_choices(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("name: sphere\nn: 8\nd: 8\nseed: 0\n")
    (trial,) = request([f"hydra.searchpath=[{tmp_path}]", "data=mine"]).trials
    assert (trial.trial.data.name, trial.trial.data.n) == ("sphere", 8)


def test_a_wrong_value_names_the_chosen_file_that_has_it(tmp_path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "mine.yaml"
    file.write_text("name: sphere\nn: -4\nd: 8\nseed: 0\n")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: data: n must be .* -4$"):
        request(["data=mine", "seed=0,1"], tmp_path)
    with pytest.raises(ConfigError, match=r"^data: n must be at least 1, not -3$"):
        request(["data=mine", "data.n=-3"], tmp_path)


@pytest.mark.parametrize("folder", [".", "conf"])
def test_a_missing_choice_names_the_file_of_the_wrong_ending(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / folder / "experiment" / "mine.yml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nseed: 1\n")
    file.with_name("other.yaml").write_text("# @package _global_\nseed: 1\n")
    named = tmp_path if folder == "." else None
    for word in ("experiment=mine", "+experiment=mine"):
        with pytest.raises(ConfigError, match=r"mine\.yml is not read: rename it to mine\.yaml\)$"):
            request([word], named)
    file.with_name("other.yaml").unlink()
    with pytest.raises(ConfigError, match=r"mine\.yml is not read|no choice for a group"):
        request(["experiment=mine"], named)


@pytest.mark.parametrize(
    ("port", "message"), [("70000", "1<=x<=65535"), ("5000", "no record under")]
)
def test_ui_refuses_before_it_prints_its_address(port, message, tmp_path):
    done = inside("ui", "--port", port, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_values_of_a_key_that_all_data_sets_have_are_listed_once():
    with pytest.raises(ConfigError) as refused:
        request(["data.labels=uniformm"])
    assert (
        str(refused.value)
        == "data.labels=uniformm: it should be 'own', 'uniform' or 'single_index'"
    )
