"""Data files that were moved or changed: what trains from a stored config takes a new place."""

import contextlib
import dataclasses
import json
import shutil

import numpy as np
import pytest
from command import inside
from own_wave import write_wave

from sweeps.config.request import launch_to_plain, request
from sweeps.planning.plan import trials_of
from sweeps.search.factory import sweep_name
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.ledger import Ledger, SweepEntry

pytestmark = pytest.mark.slow

WORDS = ["model.width=8", "train.steps=20", "cluster=inline", "data=npz", "data.path=mine.npz"]
RNG = np.random.default_rng(0)
ARRAYS = {"x": RNG.standard_normal((6, 5)), "y": RNG.standard_normal(5)}


@pytest.fixture
def where(tmp_path):
    """A folder with a data file, and one with other content."""
    np.savez(tmp_path / "mine.npz", **ARRAYS)
    np.savez(tmp_path / "other.npz", x=ARRAYS["x"], y=-ARRAYS["y"])
    return tmp_path


@pytest.fixture
def interrupted(where):
    """The name of a sweep whose driver has died, and the folder of its checkpoint."""
    return interrupted_sweep(where, [*WORDS, "seed=0,1"])


def interrupted_sweep(where, words):
    """Enter a sweep whose driver has died; return its name, and the folder of its checkpoint."""
    with contextlib.chdir(where):
        asked = request(words)
        trials = trials_of(asked)
    name = sweep_name(asked.launch, trials)
    spec = {"command": "sweeps run seed=0,1", "figure": "rates", "reused": [], "started": 0}
    spec |= {"trials": [dataclasses.asdict(trial) for trial in trials]}
    spec |= {"launch": launch_to_plain(asked.launch)}
    with contextlib.closing(Ledger(where / "outputs" / "ledger.db")) as ledger:
        ledger.open_sweep("local", SweepEntry("default", name, spec, "1", "run", "RUNNING"))
    hashes = [trial.config_hash for trial in trials]
    folder = Checkpoints.under(where / "outputs", 60.0).folder(hashes)
    folder.mkdir(parents=True)
    (folder / "trials").write_text("\n".join(hashes))
    return name, folder


def refused(*words, cwd):
    """The one line with which a command is refused."""
    done = inside(*words, cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


def trained(*words, cwd):
    """The JSON result of a command."""
    done = inside(*words, "--json", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("retry", [[], ["--retry-failed"]])
def test_resume_without_its_data_file_is_refused_and_loses_nothing(where, interrupted, retry):
    name, folder = interrupted
    (where / "mine.npz").rename(where / "moved.npz")
    line = refused("resume", name, *retry, cwd=where)
    assert f"cannot read data.path={where}/mine.npz: No such file or directory" in line
    assert "the place where it lies now, data.path=FILE" in line
    shutil.copy(where / "other.npz", where / "mine.npz")
    line = refused("resume", name, *retry, cwd=where)
    assert f"data.path={where}/mine.npz has other content" in line
    assert "data.path=FILE" in line
    assert folder.is_dir()
    with contextlib.closing(Ledger(where / "outputs" / "ledger.db")) as ledger:
        (entry,) = ledger.sweeps_like(name)
        assert ledger.failures({t["config_hash"] for t in entry.spec["trials"]}) == {}


def test_resume_takes_the_new_place_of_the_same_content(where, interrupted):
    name, _ = interrupted
    (where / "my data").mkdir()
    (where / "mine.npz").rename(where / "my data" / "moved.npz")
    for place, why in {"other.npz": "has other content", "none.npz": "cannot read"}.items():
        line = refused("resume", name, f"data.path={place}", cwd=where)
        assert why in line
        assert f"{where}/{place}" in line
    assert "give the new place" in refused("resume", name, "data.path=", cwd=where)
    wrong = refused("resume", name, "data.cache=there", cwd=where)
    assert wrong.endswith("no trial here has data that lie in such a place, data=mnist")
    result = trained("resume", name, "data.path='my data/moved.npz'", cwd=where)
    assert result["sweep"] == name
    assert [trial["status"] for trial in result["trials"]] == ["budget"] * 2
    again = trained("resume", name, cwd=where)  # the new place is stored
    assert all(trial["reused"] for trial in again["trials"])


def test_each_of_two_files_is_known_by_its_content(where):
    done = trained("run", *WORDS[:-1], "data.path=mine.npz,other.npz", cwd=where)
    for name in ("mine", "other"):
        (where / f"{name}.npz").rename(where / f"new_{name}.npz")
    line = refused("reproduce", "--sweep", done["sweep"], "data.path=new_mine.npz", cwd=where)
    assert "other.npz" in line
    words = ["--allow-drift", "data.path=new_other.npz,new_mine.npz"]
    result = trained("reproduce", "--sweep", done["sweep"], *words, cwd=where)
    assert [trial["verdict"] for trial in result["trials"]] == ["identical"] * 2


def test_reproduce_takes_the_new_place_and_is_refused_without(where):
    (trial,) = trained("run", *WORDS, cwd=where)["trials"]
    words = ["reproduce", trial["config_hash"][:12], "--allow-drift"]
    (where / "mine.npz").rename(where / "moved.npz")
    line = refused(*words, cwd=where)
    assert f"cannot read data.path={where}/mine.npz" in line
    assert "data.path=FILE" in line
    assert "raised" not in line
    assert "has other content" in refused(*words, "data.path=other.npz", cwd=where)
    assert trained(*words, "data.path=moved.npz", cwd=where)["verdict"] == "identical"
    assert "part of a trial" in refused(*words, "data.n=3", cwd=where)


def test_a_run_from_the_new_place_tells_it_to_resume_and_reproduce(where):
    done = trained("run", *WORDS, cwd=where)
    (where / "mine.npz").rename(where / "moved.npz")
    again = trained("run", *WORDS[:-1], "data.path=moved.npz", cwd=where)
    assert again["trials"][0]["reused"]
    digest = again["trials"][0]["config_hash"]
    assert trained("reproduce", digest, "--allow-drift", cwd=where)["verdict"] == "identical"
    with contextlib.closing(Ledger(where / "outputs" / "ledger.db")) as ledger:
        (entry,) = ledger.sweeps_like(done["sweep"])
    assert entry.spec["trials"][0]["plain"]["data"]["path"] == str(where / "moved.npz")


def test_resume_knows_the_place_of_another_sweep_with_the_same_data(where, interrupted):
    name, _ = interrupted
    (where / "mine.npz").rename(where / "moved.npz")
    trained("run", *WORDS[:-1], "data.path=moved.npz", "seed=5", cwd=where)
    assert len(trained("resume", name, cwd=where)["trials"]) == 2


def test_a_search_goes_on_with_data_at_a_new_place(where):
    search = ["search=optuna", "search.samples=2", "train.eta=interval(0.1,0.2)"]
    name = trained("run", *WORDS, *search, cwd=where)["sweep"]
    (where / "mine.npz").rename(where / "moved.npz")
    assert "data.path=FILE" in refused("resume", name, cwd=where)
    result = trained("resume", name, "data.path=moved.npz", cwd=where)
    assert all(trial["reused"] for trial in result["trials"])


def test_downloaded_images_are_named_where_the_output_root_was_moved(where):
    folder = where / "outputs" / "data"
    folder.mkdir(parents=True)
    images = RNG.integers(0, 256, (2, 4, 9), dtype=np.uint8)
    np.savez(folder / "mnist.npz", **{"0": images[0], "1": images[1]})
    name, _ = interrupted_sweep(where, [*WORDS[:-2], "data=mnist", "data.n=6"])
    (where / "outputs").rename(where / "moved")
    root = "paths.output=moved"
    line = refused("resume", name, root, cwd=where)
    assert f"data.cache={folder} has no mnist.npz" in line
    assert line.endswith("the place where it lies now, data.cache=FOLDER")
    result = trained("resume", name, root, "data.cache=moved/data", cwd=where)
    assert len(result["trials"]) == 1
    assert not (where / "outputs").exists()


def test_an_edited_activation_is_refused_only_where_it_would_train(where, monkeypatch):
    module = where / "edited_wave.py"
    write_wave(module, "pass")
    monkeypatch.syspath_prepend(where)
    words = [*WORDS, "model.activation=edited_wave:wave"]
    done = trained("run", *words, cwd=where)
    left, _ = interrupted_sweep(where, [*words, "seed=1,2"])
    module.write_text(f"{module.read_text()}# edited\n")
    digest = done["trials"][0]["config_hash"]
    for again in (["resume", left], ["reproduce", digest, "--allow-drift"]):
        line = refused(*again, cwd=where)
        assert "edited_wave:wave is not that of this config: the SHA-256" in line
        assert "raised" not in line
    (where / "mine.npz").unlink()  # a finished sweep does not need it either
    resumed = inside("resume", done["sweep"], cwd=where)
    assert resumed.returncode == 0, resumed.stderr
    assert "nothing to do" in resumed.stdout
