"""The names scripts rely on: `sweeps.compose`, `sweeps.config_hash`, `sweeps.load`."""

import math
import re

import pytest
from command import SMALL, inside

import deq
import sweeps as library
from sweeps import errors

pytestmark = pytest.mark.slow


def test_the_public_names_are_these():
    assert sorted(library.__all__) == [
        "ClusterLostError",
        "ConfigError",
        "DiskError",
        "StoppedError",
        "SweepsError",
        "TrackingError",
        "cell_hash",
        "compose",
        "config_hash",
        "launch",
        "load",
        "load_trial",
        "plan",
    ]
    assert all(getattr(library, name) for name in library.__all__)
    with pytest.raises(AttributeError, match="nope"):
        library.nope  # noqa: B018


def test_every_error_that_a_public_function_documents_can_be_caught_by_its_name():
    documented = set()
    for name in library.__all__:
        documented |= set(re.findall(r"^ +(\w+Error):", getattr(library, name).__doc__, re.M))
    assert {"ConfigError", "StoppedError", "ClusterLostError"} <= documented <= {*library.__all__}


def test_the_tree_of_errors_shows_all_of_them():
    tree = re.findall(r"\w+Error", errors.__doc__)
    classes = [n for n, kind in vars(errors).items() if isinstance(kind, type)]
    assert sorted(tree) == sorted(classes)


def test_compose_gives_the_one_trial():
    assert library.compose() == deq.TrialConfig()
    config = library.compose(["model.width=64", "seed=3"])
    assert (config.model.width, config.seed) == (64, 3)
    assert library.config_hash(config) != library.config_hash(library.compose())
    with pytest.raises(library.ConfigError, match="2 trials"):
        library.compose(["seed=0,1"])
    with pytest.raises(library.ConfigError, match=r"model\.width"):
        library.compose(["model.widht=3"])


def test_a_sweep_is_loaded_as_a_table(tmp_path):
    words = [*SMALL, "model.sigma_w2=0.2", "model.allow_ill_posed=true"]
    words += ["train.eta_unit=theorem,tangent", "seed=0,1", "cluster=inline"]
    assert inside("run", *words, cwd=tmp_path).returncode == 1
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    table = library.load(folder.name[:8], output=tmp_path / "outputs")
    assert table["train.eta_unit"].tolist() == ["theorem"] * 2 + ["tangent"] * 2
    assert table["status"].tolist() == ["failed", "failed", "budget", "budget"]
    assert table["trial"].tolist()[2] == "eta_unit=tangent seed=0"
    assert math.isnan(table["rate/measured"][0])
    assert table["rate/measured"][2] > 0
    assert "eta_unit=theorem needs" in table["error"][0]
    config = library.compose([*SMALL, "model.sigma_w2=0.2", "model.allow_ill_posed=true", "seed=1"])
    assert table["config_hash"][3] == library.config_hash(config)
    assert table["cell_hash"][3] == table["cell_hash"][2] == library.cell_hash(config)
    with pytest.raises(library.ConfigError, match="no sweep"):
        library.load("abcdef0", output=tmp_path / "outputs")


def test_a_sweep_is_planned_and_launched_from_a_script(tmp_path):
    words = [*SMALL, "model.width=8,12", "cluster=inline", f"paths.output={tmp_path / 'own'}"]
    planned = library.plan(words)
    assert (planned.left, len(planned.trials)) == (2, 2)
    assert not (tmp_path / "own").exists()  # a plan starts nothing
    done = library.launch(words)
    assert (done.trained, done.failed) == (2, 0)
    assert done.plan.sweep == planned.sweep
    assert library.plan(words).left == 0
    assert library.launch([*words, "model.width=8,12,16"]).trained == 1  # only the new one
    table = library.load(done.plan.sweep, output=tmp_path / "own")
    assert table["model.width"].tolist() == [8, 12]
    assert table["rate/measured"].notna().all()
    with pytest.raises(library.ConfigError, match=r"model\.width"):
        library.launch(["model.widht=8"])
