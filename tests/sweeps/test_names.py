"""Names from a configuration: refused in one line, or made safe. Nothing leaves the root."""

import string

import pytest
from command import inside
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sweeps.config.request import request
from sweeps.errors import SweepsError
from sweeps.tracking.store import folder_name

TINY = ["run", "data.n=8", "train.steps=4", "model.width=4", "diagnostics.every=2"]
TINY += ["cluster=inline", "tracking.lease=3600"]
PIECES = ["..", ".", "/", "\\", "~", "%2e%2e", "$HOME", "x" * 260, "\u00e9" * 120, " ", "\0", "\n"]
PIECES += ["C:", "CON", "-", "\u202e", "\udcff", "\u65e5\u672c", "a", "outputs", "mlflow.db", "'"]
PIECES += ["../../../../x", "@/x"]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join) | st.text(
    st.characters(codec="utf-8") | st.sampled_from(string.punctuation), min_size=1, max_size=300
)
KEYS = ["study", "data.cache", "data.path", "model.activation", "experiment", "search.name"]
KEYS += ["model.activation_sha256", "tracking.uri", "figure", "+axes.seed", "cluster.address"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder deep enough for `../../..`, its output root with one finished trial."""
    deep = tmp_path_factory.mktemp("names") / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert inside(*TINY, cwd=deep).returncode == 0
    return deep


def quoted(name):
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def outside(place):
    """Everything above and beside the output root; `@` in a name is an absolute path to it."""
    root = place.parents[2]
    return {p for p in root.rglob("*") if not p.is_relative_to(place / "outputs")}


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(key=st.just("study") | st.sampled_from(KEYS), name=NAMES)
@example(key="study", name="../../../../x")
@example(key="study", name="@/x")
@example(key="data.cache", name="../x")
@example(key="data.cache", name="x" * 260)
@example(key="study", name="~..")
def test_all_files_lie_under_the_root_for_any_name(place, key, name):
    before = outside(place)
    words = [f"{key}={quoted(name.replace('@', str(place.parents[1])))}"]
    if key.startswith("data."):
        words.insert(0, "data=npz" if key == "data.path" else "data=mnist")
    done = inside(*TINY, *words, cwd=place)
    assert outside(place) == before
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 2:
        assert len(done.stderr.strip().splitlines()) == 1
    assert not [path for path in (place / "outputs").rglob("*") if path.is_symlink()]


TYPED = st.lists(
    st.sampled_from([*PIECES, *"[]{}()=:,", "range(", "${", "${seed}", "1e400", "null"]), max_size=5
)


@settings(max_examples=50, deadline=None, database=None)
@given(key=st.sampled_from([*KEYS, "data", "seed", "+axes", "~seed"]), typed=TYPED.map("".join))
@example(key="study", typed="~..")
def test_any_override_is_composed_or_refused_in_one_line(key, typed):
    refusal = ""
    try:
        request([f"{key}={typed}"])
    except SweepsError as error:
        refusal = str(error)
    assert len(refusal.strip().splitlines()) <= 1


@pytest.mark.parametrize(
    "name", ["../../x", "..", "/etc/x", "a/b", "x" * 255, "\u65e5" * 200, ". ."]
)
def test_a_study_of_any_name_has_a_folder_of_its_own(name, tmp_path):
    (tmp_path / folder_name(name)).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [folder_name(name)]
    assert folder_name(name) != folder_name(name + "2")


@pytest.mark.parametrize("command", ["report", "status", "resume", "reproduce"])
@pytest.mark.parametrize("name", ["../../../x", "/etc/passwd", "a\0b%", "'; DROP TABLE runs"])
def test_a_sweep_or_a_trial_of_no_such_name_is_refused(place, command, name):
    before = outside(place)
    done = inside(command, name, cwd=place)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert outside(place) == before
