"""Refused overrides, files and arguments: one line that says what to write instead."""

import re
import shlex

import pytest
from command import inside

import sweeps
from docs.keys import config_keys
from sweeps.config.condition import check_metric
from sweeps.config.config_files import groups
from sweeps.config.misspellings import OTHER_NAMES, nearest
from sweeps.config.request import request
from sweeps.errors import ConfigError

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
