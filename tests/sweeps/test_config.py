"""Composition, axes, identity, and what is refused."""

import dataclasses
import random
import shutil

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import deq
from sweeps.cli import cli
from sweeps.config.config_files import conf_dir
from sweeps.config.hashing import canonical, cell_hash, config_hash
from sweeps.config.hydra import compose_points
from sweeps.config.request import (
    TRIAL_KEYS,
    request,
    trial_from_plain,
    trial_to_plain,
    trial_to_yaml,
)
from sweeps.errors import ConfigError
from sweeps.execution.events import Done
from sweeps.execution.worker import run_pack

# A change that moves one must say so in the changelog and raise identity.SCHEMA.
GOLDEN = {
    (): "3a7cec07fdbf73bd052491a6ba73b63b5c537114be1ac3213ba4032f958a79da",
    (
        "data=sphere",
        "dtype=float32",
        "solver.tol=1e-6",
        "seed=3",
    ): "8fc94e967df4d45a827c7b0276633f2990a8be0ec4fdc839125b351bbce4b839",
    (
        "model.width=64",
        "model.activation=tanh",
        "train.eta_unit=absolute",
    ): "f942b6f1e9a3c16ac3c41814f2b4c54c34cd10e1980a02355e71d1310ea43d77",
}


def only(*overrides):
    (composed,) = request(overrides).trials
    return composed.trial


@pytest.mark.parametrize("overrides", GOLDEN)
def test_golden_hashes(overrides):
    assert config_hash(only(*overrides)) == GOLDEN[overrides]


def test_the_yaml_defaults_are_the_dataclasses_defaults():
    assert only() == deq.TrialConfig()


EXPERIMENTS = sorted(p.stem for p in (conf_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_at_both_sizes_and_names_its_command(name):
    """Down to typed trials; what needs a download is composed and not loaded."""
    laptop, paper = (
        compose_points([f"experiment={name}", f"size={s}"]).points for s in ("laptop", "paper")
    )
    assert len(laptop) > 1
    assert len(paper) > 1
    for plain, _ in (*laptop, *paper):
        trial_from_plain({key: plain[key] for key in TRIAL_KEYS})
        assert plain["study"] == name
    largest = [max(plain["model"]["width"] for plain, _ in some) for some in (laptop, paper)]
    # The frontier searches the width; a network of one neuron is that of single_index.
    others = ("quickstart", "width_frontier", "single_index")
    assert largest[1] > largest[0] or name in others
    text = (conf_dir() / "experiment" / f"{name}.yaml").read_text()
    assert text.splitlines()[1] == f"# sweeps run experiment={name}"


def test_the_papers_size_gives_way_to_what_is_typed():
    paper = ["experiment=ling_fig1_synthetic", "size=paper", "data.n=16"]
    trials = request([*paper, "model.width=8,16"]).trials
    assert [t.trial.model.width for t in trials] == [8, 16]
    assert {t.trial.data.n for t in trials} == {16}
    assert {t.trial.data.d for t in trials} == {1000}
    # An axis of one value, the activation here, names no trial.
    assert [t.varying for t in trials] == [{"model.width": w} for w in (8, 16)]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_tried_with_short_trials_in_this_process(name):
    """An axis over train.steps would win: no experiment has one."""
    for point, _ in compose_points(["debug=short", f"experiment={name}", "seed=0"]).points:
        given = (point["train"]["steps"], point["cluster"]["name"], point["study"])
        assert given == (20, "inline", "debug")


def test_what_is_typed_wins_over_short_trials():
    words = ["experiment=quickstart", "debug=short", "train.steps=7", "cluster=local"]
    for order in (words, words[::-1]):
        point, _ = compose_points(order).points[0]
        assert (point["train"]["steps"], point["cluster"]["name"]) == (7, "local")


def test_an_experiments_axis_over_a_group_keeps_its_other_axes():
    trials = request(["+axes={data: [sphere, digits], seed: [0, 1]}"]).trials
    pairs = [(t.trial.data.name, t.trial.seed) for t in trials]
    assert pairs == [("sphere", 0), ("sphere", 1), ("digits", 0), ("digits", 1)]


@pytest.mark.parametrize(
    "group", sorted(str(p.relative_to(conf_dir())) for p in conf_dir().glob("[cdst]*/*.yaml"))
)
def test_every_choice_composes(group, openml, tmp_path):
    choice = group.removesuffix(".yaml").replace("/", "=")
    if choice == "data=npz":
        with pytest.raises(ConfigError, match=r"data\.path"):
            request([choice])
    elif choice in ("data=mnist", "data=cifar10"):
        trial = only(choice, "data.n=6", f"paths.output={tmp_path}")
        assert f"data={trial.data.name}" == choice
        assert openml.requests
    else:
        drawn = choice.startswith("search=") and choice != "search=grid"
        request([choice, *(["train.eta=interval(0.4,0.6)"] if drawn else [])])
        assert not openml.requests


def test_quickstart_is_twelve_trials():
    trials = request(["experiment=quickstart"]).trials
    assert len({config_hash(t.trial) for t in trials}) == 12
    assert {t.trial.model.width for t in trials} == {128, 256, 512}


def test_an_override_replaces_the_axis_of_its_key():
    one = request(["experiment=quickstart", "model.width=64"]).trials
    assert len(one) == 4
    assert {t.trial.model.width for t in one} == {64}
    two = request(["experiment=quickstart", "model.width=32,64"]).trials
    assert len(two) == 8


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("seed=range(0,3)", [0, 1, 2]),
        ("seed=range(1,6,2)", [1, 3, 5]),
        ("seed=choice(4,2)", [4, 2]),
        ("seed=7,5", [7, 5]),
    ],
)
def test_hydras_grammar_for_axes(override, values):
    assert [t.trial.seed for t in request([override]).trials] == values


def test_groups_are_axes_too():
    names = [t.trial.data.name for t in request(["data=sphere,digits"]).trials]
    assert names == ["sphere", "digits"]
    assert [t.trial.data.name for t in request(["data=glob(s*)"]).trials] == ["sphere"]


@pytest.mark.parametrize(
    "spelling",
    [
        ["model.width=256"],
        ["model.width=256.0"],
        ["train.eta=0.5", "seed=0"],
        ["train.eta=5e-1"],
        ["solver.tol=0.00000001"],
        ["cluster.cpus_per_trial=2"],
        ["paths.output=elsewhere"],
        ["study=other"],
        ["pack=4"],
        ["model.allow_ill_posed=true"],
    ],
)
def test_spelling_and_irrelevant_settings_do_not_move_the_hash(spelling):
    assert config_hash(only(*spelling)) == config_hash(deq.TrialConfig())


@pytest.mark.parametrize(
    "change",
    ["model.width=257", "train.eta=0.51", "seed=1", "data.n=32", "dtype=float32 solver.tol=1e-6"],
)
def test_a_key_that_changes_the_numbers_moves_the_hash(change):
    assert config_hash(only(*change.split())) != config_hash(deq.TrialConfig())


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 4096),
    eta=st.floats(1e-6, 10),
    seed=st.integers(0, 2**40),
    order=st.randoms(use_true_random=False),
)
def test_plain_data_in_any_order_gives_the_same_hash(
    width: int, eta: float, seed: int, order: random.Random
):
    config = deq.TrialConfig(
        model=deq.ModelConfig(width=width), train=deq.TrainConfig(eta=eta), seed=seed
    )

    def shuffled(plain):
        items = list(plain.items())
        order.shuffle(items)
        return {k: shuffled(v) if isinstance(v, dict) else v for k, v in items}

    again = trial_from_plain(shuffled(trial_to_plain(config)))
    assert config_hash(again) == config_hash(config)
    assert trial_from_plain(yaml.safe_load(trial_to_yaml(config))) == config
    other = dataclasses.replace(config, seed=seed + 1)
    assert cell_hash(other) == cell_hash(config)
    assert config_hash(other) != config_hash(config)


def test_a_field_added_later_does_not_move_old_hashes():
    @dataclasses.dataclass(frozen=True)
    class Before:
        a: int = 1

    @dataclasses.dataclass(frozen=True)
    class After:
        a: int = 1
        b: str = dataclasses.field(default="x", metadata={"absent_at": "x"})

    assert canonical(After()) == canonical(Before())
    assert canonical(After(b="y")) != canonical(Before())


def test_the_default_tolerance_of_windows_is_shown_and_moves_no_hash():
    for activation, tol in (("tanh", 1e-6), ("relu", 1e-4)):
        words = (f"model.activation={activation}", "train.integrator=windows")
        config = only(*words)
        shown = yaml.safe_load(trial_to_yaml(config))
        assert shown["train"]["integrator_tol"] == tol
        assert trial_from_plain(shown) == config
        assert "integrator_tol" not in canonical(config)["train"]
        assert config_hash(only(*words, f"train.integrator_tol={tol}")) == config_hash(config)
        assert config_hash(only(*words, "train.integrator_tol=1e-5")) != config_hash(config)
    assert config_hash(only("model.activation=tanh", "train.integrator=windows")).startswith("b70d")


def test_an_npz_file_is_known_by_its_content(tmp_path):
    import numpy as np

    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, x=np.eye(3), y=np.ones(3))
    a, b = (only("data=npz", f"data.path={tmp_path}/{name}.npz") for name in "ab")
    assert config_hash(a) == config_hash(b)
    np.savez(tmp_path / "a.npz", x=2 * np.eye(3) + 1, y=np.ones(3))
    assert config_hash(only("data=npz", f"data.path={tmp_path}/a.npz")) != config_hash(b)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_downloaded_set_is_known_by_its_content(name, openml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [f"data={name}", "data.n=6"]
    first = only(*overrides, "paths.output=first")
    assert first.data.cache == str(tmp_path / "first" / "data")
    assert first.data.sha256 == deq.digest(first.data)
    with pytest.raises(ConfigError, match="nothing is written outside"):
        only(*overrides, "data.cache=own", "paths.output=other")
    shutil.copytree(tmp_path / "first" / "data", tmp_path / "own")
    elsewhere = only(*overrides, "data.cache=own", "paths.output=other")
    assert elsewhere.data.cache == str(tmp_path / "own")
    assert config_hash(elsewhere) == config_hash(first)
    openml.images = 255 - openml.images
    assert config_hash(only(*overrides, "paths.output=second")) != config_hash(first)
    with pytest.raises(ConfigError, match="does not hold the samples"):
        only(*overrides, "paths.output=second", f"data.sha256={first.data.sha256}")


def test_a_downloaded_set_is_trained_on_wherever_its_cache_is(openml, tmp_path):
    overrides = ["data=mnist", "data.n=6,8", "model.width=8", "train.steps=3"]
    trials = request([*overrides, f"paths.output={tmp_path}"]).trials
    assert len(openml.requests) == 4  # one download for both
    openml.close()
    for composed in trials:
        assert trial_from_plain(yaml.safe_load(trial_to_yaml(composed.trial))) == composed.trial
        *_, done = run_pack([trial_to_plain(composed.trial)], "cpu", 1)
        assert isinstance(done, Done)
        assert done.record.config_hash == config_hash(composed.trial)


@pytest.mark.parametrize("command", ["show --hash", "show --resolve", "run --dry-run"])
def test_a_download_writes_under_the_output_root_only(command, openml, tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SWEEPS_OUTPUT", raising=False)
    done = CliRunner().invoke(cli, [*command.split(), "data=mnist", "data.n=6"])
    assert done.exit_code == 0, done.output or done.exception
    assert [p.name for p in here.iterdir()] == ["outputs"]
    assert [p.name for p in (here / "outputs" / "data").iterdir()] == ["mnist.npz"]
    assert not (home / "scikit_learn_data").exists()


def test_a_missing_network_is_reported_in_one_line_with_the_place_of_the_file(openml, tmp_path):
    openml.close()
    with pytest.raises(ConfigError, match=r"data=mnist.*refused.*mnist\.npz") as error:
        request(["data=mnist", f"paths.output={tmp_path}"])
    assert str(tmp_path / "data") in str(error.value)
    assert "\n" not in str(error.value)


OWN = """import torch

import deq

wave = deq.Activation("wave", torch.sin, torch.cos, 1.0, 1.0, 0.0, True)
steep = deq.Activation("steep", torch.sin, torch.cos, 0.9, 1.0, 0.0, True)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module of activations on the path, under a name of its own in each test."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_an_own_activation_is_known_by_its_source(own, tmp_path):
    override = f"model.activation={own}:wave"
    before = only(override)
    assert len(before.model.activation_sha256) == 64
    assert trial_from_plain(yaml.safe_load(trial_to_yaml(before))) == before
    (tmp_path / f"{own}.py").write_text(OWN + "# another version\n")
    assert config_hash(only(override)) != config_hash(before)
    with pytest.raises(ConfigError, match="not that of this config") as error:
        trial_from_plain(trial_to_plain(before))
    assert "\n" not in str(error.value)


def test_an_own_activation_in_an_axis(own):
    trials = [t.trial for t in request([f"model.activation=gelu,{own}:wave,tanh"]).trials]
    assert [bool(t.model.activation_sha256) for t in trials] == [False, True, False]
    assert config_hash(trials[2]) == config_hash(only("model.activation=tanh"))


@pytest.mark.parametrize(
    ("name", "match"),
    [("steep", "steep: lipschitz is 0.9, but"), ("wafe", "'wafe' is missing"), ("", "named")],
)
def test_a_wrong_own_activation_is_refused_in_one_line(own, name, match):
    with pytest.raises(ConfigError, match=match) as error:
        request([f"model.activation={own}:{name}"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["model.widht=3"], r"model\.width"),
        (["model.widht=3,4"], r"model\.width"),
        (["modle.width=3"], r"model\.width"),
        (["search=optuna", "search.trials=3", "train.eta=1,2"], r"^search\.trials=3: no such key"),
        (["search.samples=3"], "it belongs to search=optuna or random"),
        (["cluster.address=head:6379"], "cluster: .* give cluster=ray"),
        (["tracking.uri=http://host:5000"], "tracking: .* give tracking=server"),
        (["tracking.public_url=host:5000"], "public_url=host:5000 is no http"),
        (
            ["tracking=server", "tracking.public_url=host:5000"],
            "public_url=host:5000 is no http",
        ),
        (["data=digit"], "digits"),
        (["experiment=quick"], "quickstart"),
        (["+foo=1"], "foo"),
        (["model.width=abc"], r"model\.width"),
        (["model.width=1.5"], r"model\.width"),
        (["model.width=true"], r"model\.width"),
        (["model.width=0"], "width must be at least 1"),
        (["model.sigma_w2=-1"], "at least 0"),
        (["model.activation=rleu"], "choose from relu, leaky_relu"),
        (["model.activation=no_such_module:phi"], "no module .no_such_module."),
        (["model.sigma_w2=0.2"], "allow_ill_posed"),
        (["model.width=8,0"], "width must be at least 1"),
        (["data.n=1000"], "larger than the data set"),
        (["train.eta=nan"], "finite"),
        (["train.eta=inf"], "finite"),
        (["train.eta_unit=abs"], "tangent"),
        (["train.eta=interval(0,1)"], "range"),
        (["data=glob(x*)"], "matches nothing"),
        (["model.width=1,"], "cannot read"),
        (["data=npz", "data.path=/nowhere.npz"], "cannot read"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(overrides, match):
    with pytest.raises(ConfigError, match=match) as error:
        request(overrides)
    assert "\n" not in str(error.value)
