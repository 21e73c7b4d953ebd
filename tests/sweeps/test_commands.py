"""status, resume, doctor, sync and plans: their output, and what they refuse."""

import contextlib
import dataclasses
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from command import ENV, SMALL, inside, unused_port

from sweeps.cli import cli
from sweeps.config.launch import ClusterConfig
from sweeps.config.request import launch_from_plain, launch_to_plain, request
from sweeps.driver.resume import stored_sweep
from sweeps.errors import ConfigError
from sweeps.execution import executor
from sweeps.execution import tune as trainer
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.versions import local_versions, mismatch
from sweeps.inspect.status import statuses
from sweeps.planning.plan import trials_of
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.ledger import Ledger, SweepEntry

SWEEP = "0123456789ab"


def test_help_imports_nothing_slow():
    slow = "{'torch', 'hydra', 'mlflow'}"
    check = f"import sys, sweeps.cli.entry; sys.exit(bool({slow} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", check], env=ENV, check=False).returncode == 0


@pytest.mark.slow
def test_help_is_not_cut_at_80_columns():
    """Each command's line is a whole sentence."""
    lines = CliRunner().invoke(cli, ["--help"], terminal_width=80).output.splitlines()
    commands = [line for line in lines if line.strip().partition(" ")[0] in cli.commands]
    assert len(commands) == len(cli.commands)
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.slow
def test_a_launch_does_not_import_matplotlib_before_its_cache_folder_is_set():
    check = "import sys, sweeps.driver.run, sweeps.execution.tune\n"
    check += "sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], env=ENV, check=False).returncode == 0


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An output root for one test."""
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path / "outputs"


def entered(root, *overrides, **change):
    """A sweep in the ledger whose driver has died."""
    asked = request([*SMALL, "seed=0,1", *overrides])
    trials = [dataclasses.asdict(trial) for trial in trials_of(asked)]
    spec = {"command": "sweeps run seed=0,1", "figure": "rates", "reused": [], "trials": trials}
    spec |= {"launch": launch_to_plain(asked.launch), "started": 0}
    entry = SweepEntry("study", SWEEP, spec | change, "1", "run", "RUNNING")
    with contextlib.closing(Ledger(root / "ledger.db")) as ledger:
        ledger.open_sweep("local", entry)
        ledger.save_failure(trials[1]["config_hash"], "ValueError: no", final=True)
    return trials


def test_status_of_a_sweep_whose_driver_died(root):
    trials = entered(root)
    (status,) = statuses(request([]).launch, SWEEP[:6])
    assert (status.state, status.mlflow) == ("interrupted", "RUNNING")
    assert (status.done, status.failed, status.left) == (0, 1, 1)
    assert status.command == "sweeps run seed=0,1"
    begins = "no checkpoint: resume begins at step 0"
    assert [t.note for t in status.trials] == [begins, "ValueError: no"]
    folder = Checkpoints.under(root, 60.0).folder([trials[0]["config_hash"]])
    folder.mkdir(parents=True)
    (folder / "trials").write_text(trials[0]["config_hash"])
    for step in (40, 1200):
        (folder / f"step-{step:09d}-{'0' * 64}.npz").touch()
    output = CliRunner().invoke(cli, ["status"]).output
    assert SWEEP in output
    assert "interrupted" in output
    assert "checkpoint of step 1200: resume goes on from there" in output


def test_status_of_a_root_without_sweeps_says_so(root):
    root.mkdir()
    Ledger(root / "ledger.db").close()
    assert CliRunner().invoke(cli, ["status"]).output.startswith("No sweep is recorded here yet")


def test_status_and_resume_need_six_digits_and_a_record(root):
    for call in (lambda p: statuses(request([]).launch, p), lambda p: stored_sweep(p, [])):
        with pytest.raises(ConfigError, match="no record"):
            call(SWEEP)
    entered(root)
    for prefix, message in {SWEEP[:5]: "6 or more digits", "ffffff": "no sweep's name"}.items():
        for call in (lambda p: statuses(request([]).launch, p), lambda p: stored_sweep(p, [])):
            with pytest.raises(ConfigError, match=message):
                call(prefix)


def test_resume_launches_the_stored_configs_unchanged(root):
    trials = entered(root, "cluster.cpus_per_trial=2", "pack=2", "study=mine")
    stored = stored_sweep(SWEEP[:6], ["cluster.max_retries=5"])
    assert [dataclasses.asdict(trial) for trial in stored.trials] == trials
    assert (stored.launch.study, stored.launch.pack) == ("mine", 2)
    assert stored.launch.cluster.cpus_per_trial == 2
    assert stored.launch.cluster.max_retries == 5
    assert stored.launch.paths.output == str(root)


def test_resume_accepts_another_choice_of_a_group(root):
    entered(root, "cluster.cpus_per_trial=2")
    assert stored_sweep(SWEEP, ["cluster=inline"]).launch.cluster == (
        request(["cluster=inline"]).launch.cluster
    )


def test_resume_refuses_overrides_that_change_a_trial(root):
    entered(root)
    with pytest.raises(ConfigError, match="goes on with the trials it has"):
        stored_sweep(SWEEP, ["model.width=32"])


def test_resume_refuses_a_stored_config_whose_hash_has_changed(root):
    trials = entered(root)
    trials[0]["plain"]["seed"] = 7
    entered(root, trials=trials)
    with pytest.raises(ConfigError, match="has another hash"):
        stored_sweep(SWEEP, [])


def test_a_password_is_not_stored_with_the_launch():
    launch = request(["tracking=server", "tracking.uri=http://me:hunter2x@host:1"]).launch
    plain = launch_to_plain(launch)
    assert "hunter2x" not in json.dumps(plain)
    assert launch_from_plain(plain, []).tracking.uri == "http://host:1"


def test_doctor_reports_the_environment_and_writes_nothing(root):
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    checks = {check["name"]: check for check in json.loads(done.output)}
    assert {"Python", "torch", "ray", "mlflow", "GPU", "output root", "free disk"} <= set(checks)
    assert checks["ray"]["found"] == "2.60.0"
    assert not root.exists()


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (["paths.output=/proc/nowhere"], "output root"),
        (["cluster=ray", "cluster.address=@closed"], "cluster"),
        (["tracking=server", "tracking.uri=http://@closed"], "tracking server"),
    ],
)
def test_doctor_names_failed_checks(root, asked, name):
    words = [word.replace("@closed", f"127.0.0.1:{unused_port()}") for word in asked]
    done = CliRunner().invoke(cli, ["doctor", "--json", *words])
    assert done.exit_code == 1
    wrong = [check["name"] for check in json.loads(done.output) if not check["ok"]]
    assert name in wrong
    assert not {"Python", "torch", "ray", "mlflow"} & set(wrong)


def test_every_differing_version_is_named_with_both_values():
    ours = {"Python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0"}
    assert mismatch(ours, ours) == ""
    message = mismatch(ours, ours | {"ray": "2.59.0", "torch": "none"})
    for word in ("ray 2.60.0 here, 2.59.0 there", "torch 2.13.0 here, none there"):
        assert word in message
    assert "Python" not in message


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["cluster.gpus_per_trial=1.5"], "whole GPUs"),
        (["cluster.gpus_per_trial=1e-5"], "at least 0.0001"),
        (["+cluster.resources.GPU=1"], "keys of their own"),
        (["+cluster.resources.spot=0"], "positive"),
        (["cluster.memory_gb_per_trial=-1"], "at least 0"),
    ],
)
def test_invalid_resources_are_refused(words, match):
    with pytest.raises(ConfigError, match=match):
        request(words)


@pytest.mark.parametrize("cluster", ["inline", "local"])
@pytest.mark.parametrize(
    ("there", "asked", "message"),
    [(0, "1", "no GPU here"), (0, "0.5", "no GPU"), (1, "2", "1 GPU ")],
)
def test_a_missing_gpu_is_refused_and_nothing_is_written(
    root, monkeypatch, caplog, cluster, there, asked, message
):
    """The machine is at fault, so no trial is recorded as failed."""
    monkeypatch.setattr(executor, "gpu_count", lambda: there)
    words = [*SMALL, f"cluster={cluster}", f"cluster.gpus_per_trial={asked}"]
    done = inside("run", *words, cwd=root.parent)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"cluster.gpus_per_trial={asked}, and torch" in line
    assert message in line
    assert not root.exists()
    planned = inside("run", *words, "--dry-run", cwd=root.parent)
    assert planned.returncode == 0
    assert "this plan cannot be carried out here" in caplog.messages[-1]
    doctor = inside("doctor", "--json", *words, cwd=root.parent)
    assert (doctor.returncode, "sees" in doctor.stdout) == (1, True)
    elsewhere = ClusterConfig(name="ray", address="h:1", gpus_per_trial=2)
    assert executor.missing_gpus(elsewhere) == ""


def test_failures_on_a_node_without_a_gpu_are_not_final(monkeypatch):
    messages = []
    monkeypatch.setattr(trainer.tune, "report", messages.append)
    monkeypatch.setattr(trainer, "gpu_count", lambda: 0)
    trainer._trainable({"pack": 0}, [{"ab": {}}], local_versions(), WorkerSettings("cuda", 1))
    (failed,) = messages[0]["messages"]
    assert not failed.final
    assert "sees no GPU" in failed.error


def test_sync_under_a_root_that_does_not_exist_is_refused(tmp_path):
    done = inside("sync", f"paths.output={tmp_path / 'absent'}", cwd=tmp_path)
    assert done.returncode == 2
    assert "launch a sweep first" in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_plan_is_shown_for_a_refused_output_root(tmp_path):
    (tmp_path / "file").write_text("")
    done = inside("run", *SMALL, "cluster=inline", "paths.output=file", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("every", ["nan", "inf", "0", "two"])
def test_the_seconds_between_two_updates_are_a_number(every, tmp_path):
    done = inside("status", "--watch", "--every", every, cwd=tmp_path)
    assert done.returncode == 2
    assert "--every" in done.stderr


def test_reproduce_takes_one_trial_or_a_sweep(tmp_path):
    one = "name one trial by its HASH, or a sweep by --sweep SWEEP"
    sample = "--sample draws from a sweep: give --sweep SWEEP"
    cases = {
        "": one,
        "abcdef 123456": one,
        f"--sweep {SWEEP} abcdef": one,
        "abcdef --sample 2": sample,
    }
    for words, message in cases.items():
        done = inside("reproduce", *words.split(), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, f"sweeps: {message}\n"), words
    assert not list(tmp_path.iterdir())


def test_diff_and_reproduce_need_a_record(tmp_path):
    for words in (["diff", "abcdef", "123456"], ["reproduce", "abcdef"]):
        done = inside(*words, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "names 0 finished trials" in done.stderr
    assert not list(tmp_path.iterdir())
