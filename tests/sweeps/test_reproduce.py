"""Reproduce trials from their hashes, and compare two trials."""

import contextlib
import json
import math
import shutil
import subprocess
from dataclasses import replace

import pytest
from command import ROOT, SMALL, client, inside, runs, sweeps
from records import RECORD

from sweeps.errors import ConfigError
from sweeps.execution import git as earlier
from sweeps.execution.events import Failed
from sweeps.reproduction.comparison import DIFFERENT, EQUAL, IDENTICAL, compare
from sweeps.reproduction.reproduce import drift, refuse_drift, runtimes
from sweeps.reproduction.runs import (
    refuse_without_comparison,
    reproduce_all,
    sample,
    to_plain,
)
from sweeps.storage.ledger import Ledger
from sweeps.storage.record import Trajectory

pytestmark = pytest.mark.slow


def changed(column, step, value):
    values = list(RECORD.trajectory[column])
    values[step] = value
    return replace(RECORD, trajectory=Trajectory.of({**RECORD.trajectory, column: values}))


def test_equal_numbers_are_identical_and_seconds_are_ignored():
    slower = replace(RECORD, summary=RECORD.summary | {"time/seconds": 9.0})
    assert compare(RECORD, slower).kind == IDENTICAL


def test_a_difference_in_the_last_bit_is_reported_with_its_step():
    comparison = compare(RECORD, changed("loss", 1, math.nextafter(2.0, 3.0)))
    assert (comparison.kind, comparison.where, comparison.step) == (EQUAL, "loss", 1)
    assert comparison.deviation == pytest.approx(2**-51 / 4.0)


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (changed("loss", 2, 1.1), "loss"),
        (changed("norm_w", 1, 1.0), "norm_w"),
        (changed("norm_w", 2, None), "norm_w"),
        (
            replace(
                RECORD, trajectory=Trajectory.of({k: v[:2] for k, v in RECORD.trajectory.items()})
            ),
            "step",
        ),
        (replace(RECORD, summary={"rate/measured": 0.2}), "rate/measured"),
        (replace(RECORD, summary={}, notes={"rate/measured": "no window"}), "rate/measured"),
        (replace(RECORD, status="diverged"), "status"),
    ],
)
def test_the_differing_column_is_named(other, where):
    comparison = compare(RECORD, other)
    assert (comparison.kind, comparison.where) == (DIFFERENT, where)
    assert where in str(comparison)


def test_columns_of_a_later_version_are_not_compared():
    later = replace(
        RECORD,
        trajectory=Trajectory.of({**RECORD.trajectory, "kernel_drift": [0.0, 0.1, 0.2]}),
        summary=RECORD.summary | {"theory/kernel_drift": 0.2},
        notes={"rate/asymptotic_end": "it has not converged"},
    )
    for comparison in (compare(RECORD, later), compare(later, RECORD)):
        assert (comparison.kind, comparison.skipped) == (IDENTICAL, 3)
        assert "; 3 that only one version records are left out" in str(comparison)
    assert "only one version" not in str(compare(RECORD, RECORD))


def with_work(*values):
    """The record with a column that counts the engine's work."""
    return replace(
        RECORD, trajectory=Trajectory.of({**RECORD.trajectory, "grad_check": list(values)})
    )


def test_differences_in_the_engines_work_do_not_make_results_differ():
    """Values as small as rounding errors may differ completely."""
    comparison = compare(with_work(1e-16, None, 0.0), with_work(1e-16, None, 3e-16))
    assert (comparison.kind, comparison.deviation) == (EQUAL, 0.0)
    assert (comparison.where, comparison.step) == ("grad_check", 2)
    assert "every result is identical" in str(comparison)
    other = replace(with_work(0.0, None, 0.0), summary={"rate/measured": 0.2})
    assert compare(with_work(1e-16, None, 0.0), other).kind == DIFFERENT
    quiet = [replace(RECORD, summary={"rate/oscillation": v}) for v in (1e-15, 3e-15, 1e-3)]
    assert compare(quiet[0], quiet[1]).kind == EQUAL
    assert compare(quiet[0], quiet[2]).kind == DIFFERENT


def test_a_standard_error_is_compared_with_the_rate_that_it_belongs_to():
    """It is rounding alone if the fit is nearly exact."""

    def fitted(stderr):
        rate = {"rate/measured": 0.2, "rate/measured_stderr": stderr}
        return replace(RECORD, summary=RECORD.summary | rate)

    assert compare(fitted(1e-12), fitted(4e-12)).kind == EQUAL
    assert compare(fitted(1e-3), fitted(2e-3)).kind == DIFFERENT


def test_trials_trained_in_a_pack_are_equal_when_trained_alone(tmp_path):
    words = ["model.width=128", "model.activation=tanh", "train.steps=60", "seed=0,1", "pack=2"]
    done = inside("run", *words, "cluster=inline", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sweep = json.loads(done.stdout)["sweep"]
    again = inside("reproduce", "--sweep", sweep, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    verdicts = [trial["verdict"] for trial in json.loads(again.stdout)["trials"]]
    assert set(verdicts) <= {EQUAL, IDENTICAL}
    assert len(verdicts) == 2


def test_trials_in_windows_are_reproduced_bit_for_bit(tmp_path):
    words = ["model.activation=tanh,relu", "model.width=32", "data.n=6", "train.steps=150"]
    words += ["train.integrator=windows", "seed=0,1", "cluster=inline", "--json"]
    sweep = json.loads(inside("run", *words, cwd=tmp_path).stdout)["sweep"]
    again = inside("reproduce", "--sweep", sweep, "--json", cwd=tmp_path)
    assert {t["verdict"] for t in json.loads(again.stdout)["trials"]} == {IDENTICAL}


def test_drift_is_reported_with_both_values():
    then = {"python": "2.7", "packages": {"torch": "0.1"}, "threads": 99}
    differences = drift(replace(RECORD, environment=then))
    assert differences["python"][0] == "2.7"
    assert differences["packages.torch"][0] == "0.1"
    assert "threads" not in differences
    with pytest.raises(ConfigError, match=r"python was 2\.7, is 3.*torch was 0\.1.*--allow-drift"):
        refuse_drift(RECORD, differences)
    refuse_drift(RECORD, {})


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    where = tmp_path_factory.mktemp("reproduce")
    words = ["run", *SMALL, "model.width=16,24", "--json", "pack=1", "cluster.cpus_per_trial=2"]
    done = sweeps(*words, cwd=where)
    assert done.returncode == 0, done.stderr
    return where, [trial["config_hash"] for trial in json.loads(done.stdout)["trials"]]


def test_a_trial_trained_on_ray_is_reproduced_bit_for_bit_and_recorded_in_mlflow(swept):
    where, (digest, _) = swept
    done = inside("reproduce", digest[:8], "--allow-drift", cwd=where)
    assert done.returncode == 0, done.stderr
    assert "identical bit for bit" in done.stdout
    api = client(where / "outputs")
    reproductions = api.search_runs(["1"], "tags.`sweeps.kind` = 'reproduction'")
    _, trials = runs(api)
    (original,) = [r for r in trials if r.data.tags["sweeps.config_hash"] == digest]
    assert [r.data.tags["sweeps.reproduces"] for r in reproductions] == [original.info.run_id]
    assert [r.data.tags["sweeps.verdict"] for r in reproductions] == ["identical"]
    assert [r.info.status for r in reproductions] == ["FINISHED"]


def test_without_the_ledger_the_record_comes_from_mlflow(swept, tmp_path):
    where, (_, digest) = swept
    (where / "outputs" / "ledger.db").rename(tmp_path / "ledger.db")
    try:
        done = inside("reproduce", digest, "--allow-drift", "--json", "tracking=local", cwd=where)
    finally:
        (tmp_path / "ledger.db").rename(where / "outputs" / "ledger.db")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "identical"


def test_a_training_that_raises_is_a_result_and_no_wrong_input(swept, monkeypatch):
    where, (digest, _) = swept

    def raises(plains, device, threads):
        yield Failed(digest, "ValueError: no")

    monkeypatch.setattr("sweeps.reproduction.reproduce.run_pack", raises)
    done = inside("reproduce", digest, "--allow-drift", cwd=where)
    assert done.returncode == 1
    assert done.stdout == f"{digest[:12]} raised this time: ValueError: no\n"
    done = inside("reproduce", digest, "--allow-drift", "--json", cwd=where)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (1, "failed")


def test_diff_of_two_trials(swept):
    where, (first, second) = swept
    done = inside("diff", first[:9], second[:7], "--json", cwd=where)
    result = json.loads(done.stdout)
    assert result["keys"] == {"model.width": [16, 24]}
    assert result["results"]["rate/measured"][0] != result["results"]["rate/measured"][1]
    assert not any(name.startswith("time/") for name in result["results"])
    shown = inside("diff", first[:9], second[:7], cwd=where).stdout
    assert "model.width" in shown
    assert first[:12] in shown


@pytest.mark.parametrize("prefix", ["abc", "0123456789", "nothex"])
def test_a_hash_that_names_no_trial_is_refused(swept, prefix):
    where, _ = swept
    done = inside("reproduce", prefix, cwd=where)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A worktree at commit A without a branch, and a trial trained there with changes on top.

    Two of the changes are untracked files. After the training the changes were undone, and
    other changes were committed as B.
    """
    where = tmp_path_factory.mktemp("clone")
    repo = where / "repo"
    for name in ("deq", "sweeps", "conf"):
        shutil.copytree(ROOT / name, repo / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", repo)
    git(repo, "init", "--quiet")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "A")
    git(repo, "worktree", "add", "--quiet", "--detach", where / "a worktree é")
    repo = where / "a worktree é"
    (repo / "sweeps" / "new file é.py").touch()
    new = repo / "deq" / "own.py"
    new.write_text("FACTOR = 2.5\n")
    edit(repo, "2 * config.sigma_w2", "__import__('deq.own').own.FACTOR * config.sigma_w2")
    words = ["run", *SMALL, "cluster=inline", "--json"]
    done = sweeps(*words, cwd=where, PYTHONPATH=str(repo))
    assert done.returncode == 0, done.stderr
    changed = git(repo, "status", "--short").splitlines()
    assert [line.split()[0] for line in changed] == ["M", "??", "??"]
    git(repo, "checkout", "--quiet", ".")
    git(repo, "clean", "--quiet", "--force")
    edit(repo, "config.sigma_a / m**0.5", "2 * config.sigma_a / m**0.5")
    git(repo, "commit", "--quiet", "--all", "--message", "B")
    return where, repo, json.loads(done.stdout)["trials"][0]["config_hash"]


def git(repo, *words):
    """Output of a git command in a repository."""
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    command = ["git", "-C", str(repo), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def edit(repo, old, new):
    """Change how the repository's code draws networks."""
    path = repo / "deq" / "models" / "equilibrium.py"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def test_the_recorded_code_with_its_changes_reproduces_bit_for_bit(clone, monkeypatch, tmp_path):
    where, repo, digest = clone
    here = {"cwd": where, "PYTHONPATH": str(repo)}
    first = git(repo, "rev-parse", "HEAD~")
    refused = sweeps("reproduce", digest[:8], **here)
    assert refused.returncode == 2
    assert "code.commit was" in refused.stderr
    done = sweeps("reproduce", digest[:8], "--at", first[:9], **here)
    assert done.returncode == 0, done.stderr
    assert "identical bit for bit" in done.stdout
    expected = f"{first[:12]} with its uncommitted changes, with the packages of this environment"
    assert expected in done.stderr
    assert [path.name for path in (where / "outputs").glob("reproduce-*")] == []
    # With the code of commit B the same trial has other numbers.
    monkeypatch.setattr(earlier, "ROOT", repo)
    with contextlib.closing(Ledger(where / "outputs" / "ledger.db")) as ledger:
        (record,) = ledger.records_like(digest)
    with runtimes("HEAD", tmp_path) as runtime_for:
        (result,) = reproduce_all([record], runtime_for, allow_drift=False)
    assert (result.kind, result.drift) == ("different", {})


@pytest.mark.parametrize(
    ("change", "at", "why"),
    [
        ({}, "fffffff", "has no commit 'fffffff'"),
        (
            {"code": {"commit": "@", "diff": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"}},
            "recorded",
            "the recorded diff does not apply",
        ),
        ({"code": {}}, "recorded", "sweeps ran outside a git checkout: choose one"),
        ({"packages": {"torch": "0.0.1"}}, "HEAD", "torch 0.0.1, unlike the packages of this"),
    ],
)
def test_a_checkout_that_fails_is_refused(clone, change, at, why, tmp_path, monkeypatch):
    _, repo, _ = clone
    monkeypatch.setattr(earlier, "ROOT", repo)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    code = change.get("code", {})
    if code:
        code["commit"] = git(repo, "rev-parse", "HEAD")
    with pytest.raises(ConfigError, match=why), runtimes(at, tmp_path) as runtime_for:
        runtime_for(replace(RECORD, environment=change))
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_another_machine_is_reproduced(swept, tmp_path):
    """MLflow holds both sweeps and the ledger none; the second reuses a trial of the first."""
    where, _ = swept
    shutil.copytree(where / "outputs", tmp_path / "outputs")
    (folder,) = (where / "outputs" / "sweeps").iterdir()
    part = inside("run", *SMALL, "model.width=16", "cluster=inline", "--json", cwd=tmp_path)
    second = json.loads(part.stdout)
    assert [trial["reused"] for trial in second["trials"]] == [True]
    (tmp_path / "outputs" / "ledger.db").unlink()
    for sweep, trials in ((folder.name, 2), (second["sweep"], 1)):
        words = ["--sweep", sweep[:8], "--sample", "1", "--allow-drift", "--json"]
        done = inside("reproduce", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["of"] == trials
        assert [trial["verdict"] for trial in result["trials"]] == ["identical"]
    none = inside("reproduce", "--sweep", "ffffff", cwd=tmp_path)
    assert none.returncode == 2
    assert "no sweep's name begins with" in none.stderr


def test_a_sample_of_a_sweep_is_reproduced(swept):
    where, _ = swept
    (folder,) = (where / "outputs" / "sweeps").iterdir()
    words = ["--sweep", folder.name[:8], "--sample", "1", "--seed", "3", "--allow-drift"]
    done = inside("reproduce", *words, "--json", cwd=where)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["of"] == 2
    assert [trial["verdict"] for trial in result["trials"]] == ["identical"]
    assert (
        client(where / "outputs").get_run(result["trials"][0]["run_id"]).data.tags["sweeps.verdict"]
        == "identical"
    )


class FakeRuntime:
    """A runtime with a given environment, whose results differ from the record by `change`."""

    def __init__(self, environment, change):
        self.environment, self.change = environment, change

    def rerun(self, record):
        """The record with the change."""
        return replace(record, **self.change)


def test_each_trial_of_a_sample_gets_a_result():
    records = [replace(RECORD, config_hash=c * 64) for c in "abcd"]
    runtime_by_hash = {
        "a" * 64: FakeRuntime({}, {}),
        "b" * 64: FakeRuntime({}, {"status": "diverged"}),
        "c" * 64: FakeRuntime({"python": "2.7"}, {}),
    }

    def runtime_for(record):
        if record.config_hash not in runtime_by_hash:
            raise ConfigError("no such runtime")
        return runtime_by_hash[record.config_hash]

    results = list(reproduce_all(records, runtime_for, allow_drift=False))
    assert [result.kind for result in results] == ["identical", "different", "drifted", "failed"]
    assert to_plain(results[1])["deviation"] is None  # JSON has no infinity
    assert (results[2].comparison, results[2].note) == (None, "python was absent, is 2.7")
    refuse_without_comparison(results)
    with pytest.raises(ConfigError, match="another environment"):
        refuse_without_comparison(results[2:3])
    refuse_without_comparison(results[3:])
    with pytest.raises(ConfigError, match="no such runtime"):
        refuse_without_comparison(results[3:], one=True)


def test_a_sample_is_uniform_and_reproducible_from_its_seed():
    names = [str(i) for i in range(6)]
    assert sample(names, None, 0) == sample(names, 9, 0) == names
    drawn = [tuple(sample(names, 2, seed)) for seed in range(200)]
    assert drawn == [tuple(sample(names, 2, seed)) for seed in range(200)]
    assert len(set(drawn)) == 15  # every pair is drawn
    assert all(pair == tuple(sorted(pair)) for pair in drawn)
    with pytest.raises(ConfigError, match="give at least 1"):
        sample(names, 0, 0)
