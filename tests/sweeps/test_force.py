"""`sweeps run --force` that is interrupted, killed or fails: no earlier result is lost."""

import contextlib
import json
import shutil
import signal

import pytest
from changes import changed
from command import SMALL, client, inside, runs, started, sweeps

from sweeps import TrackingError, load
from sweeps.storage.ledger import Ledger

WORDS = ["run", *SMALL, "cluster=inline", "pack=1", "seed=0,1"]
FORCED = [*WORDS, "study=one", "--force"]  # without weights
BACK = "brought back the earlier results of 2 trials that were not trained again"
BACK_ONE = "brought back the earlier result of 1 trial that was not trained again"

BROKEN = """
def _broken(training):
    raise ValueError("broke")


PackTraining.messages = _broken
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two trials of two studies, with weights, and what is held of them."""
    folder = tmp_path_factory.mktemp("trained")
    for study in ("one", "two"):
        done = inside(*WORDS, f"study={study}", "record.weights=true", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(trained, tmp_path):
    """A copy of it to work in."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    return tmp_path


def records(place):
    with contextlib.closing(Ledger(place / "outputs/ledger.db", read_only=True)) as ledger:
        return {record.config["seed"]: record for record in ledger.records_like("")}


def held(place):
    """All that is held of the trials, but the ids of their runs."""
    output = place / "outputs"
    return (
        records(place),
        {path.name: path.read_bytes() for path in (output / "weights").iterdir()},
        {study: in_mlflow(client(output), study) for study in ("one", "two")},
    )


def in_mlflow(api, study):
    """By config hash: a trial's status, parameters, last values, files and sweep."""
    trials = runs(api, study)[1]
    content = {
        run.data.tags["sweeps.config_hash"]: (
            run.info.status,
            run.data.params,
            run.data.metrics,
            sorted(file.path for file in api.list_artifacts(run.info.run_id)),
            run.data.tags["sweeps.sweep"],
        )
        for run in trials
    }
    assert len(content) == len(trials)  # each has one run
    return content


def left(place):
    """The first line of a plan."""
    return inside(*WORDS, "study=one", "--dry-run", cwd=place).stdout


def cut(place, number, beginning, **env):
    """Send a signal to a forced sweep when it prints a line; return all that it printed."""
    with started(*FORCED, cwd=place, **env) as sweep:
        lines = []
        for line in sweep.stdout:
            lines.append(line)
            if line.startswith(beginning):
                sweep.send_signal(number)
                break
        lines += sweep.stdout
        assert sweep.wait(60) == (130 if number == signal.SIGINT else -number)
    return "".join(lines)


def test_an_interruption_before_the_first_trial_loses_nothing(trained, place, slow):
    assert BACK in cut(place, signal.SIGINT, "To watch", **slow)
    assert "2 finished" in left(place)
    assert held(place) == held(trained)
    for path in (place / "outputs/sweeps").iterdir():
        assert set(load(path.name, output=place / "outputs")["status"]) == {"budget"}
    assert "nothing is missing" in inside("sync", cwd=place).stdout


def test_what_was_trained_again_stays_and_the_rest_is_brought_back(trained, place, slow):
    assert BACK_ONE in cut(place, signal.SIGINT, "[1/2]", **slow)
    before, after = records(trained), records(place)
    (new,) = [seed for seed in (0, 1) if after[seed].finished > before[seed].finished]
    assert after[1 - new] == before[1 - new]
    kept = {path.name for path in (place / "outputs/weights").iterdir()}
    assert kept == {before[1 - new].weights}  # the new result has none
    old = before[1 - new].config_hash
    for study in ("one", "two"):
        api, first = client(place / "outputs"), client(trained / "outputs")
        assert len(in_mlflow(api, study)) == 2
        assert in_mlflow(api, study)[old] == in_mlflow(first, study)[old]


@pytest.mark.parametrize("words", [["sync"], [*WORDS, "study=two"]], ids=["sync", "launch"])
def test_the_next_command_brings_back_what_a_killed_driver_left(trained, place, slow, words):
    assert BACK not in cut(place, signal.SIGKILL, "To watch", **slow)
    assert "0 finished" in left(place)
    done = sweeps(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert BACK in (done.stderr if words == ["sync"] else done.stdout)
    inside("sync", cwd=place)  # the other study's pages
    assert held(place) == held(trained)


def test_an_error_before_training_loses_nothing(trained, place, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise TrackingError("MLflow is away")

        patch.setattr("sweeps.driver.driver.register_sweep", refuse)
        done = inside(*FORCED, cwd=place)
    assert (done.returncode, done.stderr) == (2, "sweeps: MLflow is away\n")
    assert BACK in done.stdout
    assert "sent: 2 trials of study one" in inside("sync", cwd=place).stdout
    assert held(place) == held(trained)


def test_a_trial_that_fails_this_time_has_its_earlier_result_again(trained, place, tmp_path):
    env = changed(tmp_path / "changes", execution__pack_training=BROKEN)
    done = sweeps(*FORCED, cwd=place, **env)
    assert done.returncode == 1, done.stderr
    assert BACK in done.stdout
    table = [line.split() for line in done.stdout.splitlines() if line.startswith("seed=")]
    assert sum(row[1] == "failed" for row in table) == 2, done.stdout
    assert "failed: ValueError: broke" in done.stdout
    status = json.loads(inside("status", "--json", cwd=place).stdout)
    assert {trial["state"] for sweep in status for trial in sweep["trials"]} == {"budget"}
    assert held(place) == held(trained)
