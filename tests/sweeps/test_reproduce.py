"""A trial again from its hash; two trials side by side."""

import json
import math
from dataclasses import replace

import pytest
from command import SMALL, client, runs, sweeps

from sweeps.errors import ConfigError
from sweeps.record import Record
from sweeps.reproduce import DIFFERENT, EQUAL, IDENTICAL, drift, refuse_drift, verdict

RECORD = Record(
    config_hash="ab" * 32,
    cell_hash="cd" * 32,
    config={"seed": 0},
    status="budget",
    reason="",
    summary={"rate/measured": 0.1, "time/seconds": 1.0},
    notes={},
    device="cpu",
    started=0,
    finished=1,
    environment={},
    trajectory={"step": [0.0, 1.0, 2.0], "loss": [4.0, 2.0, 1.0], "norm_w": [1.0, None, 1.0]},
)


def changed(column, step, value):
    values = list(RECORD.trajectory[column])
    values[step] = value
    return replace(RECORD, trajectory=RECORD.trajectory | {column: values})


def test_the_same_numbers_are_identical_and_seconds_do_not_count():
    slower = replace(RECORD, summary=RECORD.summary | {"time/seconds": 9.0})
    assert verdict(RECORD, slower).kind == IDENTICAL


def test_a_last_bit_is_seen_and_its_step_named():
    found = verdict(RECORD, changed("loss", 1, math.nextafter(2.0, 3.0)))
    assert (found.kind, found.where, found.step) == (EQUAL, "loss", 1)
    assert found.deviation == pytest.approx(2**-51 / 4.0)


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (changed("loss", 2, 1.1), "loss"),
        (changed("norm_w", 1, 1.0), "norm_w"),
        (changed("norm_w", 2, None), "norm_w"),
        (replace(RECORD, trajectory={k: v[:2] for k, v in RECORD.trajectory.items()}), "step"),
        (replace(RECORD, summary={"rate/measured": 0.2}), "rate/measured"),
        (replace(RECORD, summary={}), "rate/measured"),
        (replace(RECORD, status="diverged"), "status"),
    ],
)
def test_what_differs_is_named(other, where):
    found = verdict(RECORD, other)
    assert (found.kind, found.where) == (DIFFERENT, where)
    assert where in str(found)


def test_drift_is_named_with_both_values():
    then = {"python": "2.7", "packages": {"torch": "0.1"}, "threads": 99}
    found = drift(replace(RECORD, environment=then))
    assert found["python"][0] == "2.7"
    assert found["packages.torch"][0] == "0.1"
    assert "threads" not in found
    with pytest.raises(ConfigError, match=r"python was 2\.7, is 3.*torch was 0\.1.*--allow-drift"):
        refuse_drift(RECORD, found)
    refuse_drift(RECORD, {})


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    where = tmp_path_factory.mktemp("reproduce")
    words = ["run", *SMALL, "model.width=16,24", "--json", "pack=1"]
    done = sweeps(*words, cwd=where)
    assert done.returncode == 0, done.stderr
    return where, [trial["config_hash"] for trial in json.loads(done.stdout)["trials"]]


def test_a_trial_made_on_ray_reproduces_bit_for_bit_and_says_so_in_mlflow(swept):
    where, (digest, _) = swept
    done = sweeps("reproduce", digest[:8], "--allow-drift", cwd=where)
    assert done.returncode == 0, done.stderr
    assert "identical bit for bit" in done.stdout
    api = client(where / "outputs")
    found = api.search_runs(["1"], "tags.`sweeps.kind` = 'reproduction'")
    _, trials = runs(api)
    (original,) = [r for r in trials if r.data.tags["sweeps.config_hash"] == digest]
    assert [r.data.tags["sweeps.reproduces"] for r in found] == [original.info.run_id]
    assert [r.data.tags["sweeps.verdict"] for r in found] == ["identical"]
    assert [r.info.status for r in found] == ["FINISHED"]


def test_without_the_ledger_the_record_comes_from_mlflow(swept, tmp_path):
    where, (_, digest) = swept
    (where / "outputs" / "ledger.db").rename(tmp_path / "ledger.db")
    try:
        done = sweeps("reproduce", digest, "--allow-drift", "--json", "tracking=local", cwd=where)
    finally:
        (tmp_path / "ledger.db").rename(where / "outputs" / "ledger.db")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "identical"


def test_two_trials_side_by_side(swept):
    where, (first, second) = swept
    done = sweeps("diff", first[:9], second[:7], "--json", cwd=where)
    found = json.loads(done.stdout)
    assert found["keys"] == {"model.width": [16, 24]}
    assert found["results"]["rate/measured"][0] != found["results"]["rate/measured"][1]
    assert not any(name.startswith("time/") for name in found["results"])
    shown = sweeps("diff", first[:9], second[:7], cwd=where).stdout
    assert "model.width" in shown
    assert first[:12] in shown


@pytest.mark.parametrize("prefix", ["abc", "0123456789", "nothex"])
def test_a_hash_that_names_no_trial_is_refused(swept, prefix):
    where, _ = swept
    done = sweeps("reproduce", prefix, cwd=where)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
