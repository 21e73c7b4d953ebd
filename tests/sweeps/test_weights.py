"""`record.weights=true`: weights beside a trial's result, in MLflow, and loaded again."""

import contextlib
import json
import shutil
import zipfile
from unittest import mock

import pytest
from command import SMALL, client, inside, runs

import deq
import sweeps
from sweeps.config.early_stopping import AshaConfig, Stopping
from sweeps.config.request import request
from sweeps.execution.events import Done, Note
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.worker import train_on_worker
from sweeps.planning.plan import trials_of
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.ledger import Ledger
from sweeps.storage.step_metrics import Live

pytestmark = pytest.mark.slow

INLINE = ["run", *SMALL, "cluster=inline"]
KEEP = "record.weights=true"
NAME = "weights.safetensors"


def done(*words, cwd):
    result = inside(*INLINE, *words, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder of a sweep of two trials with weights, in one pack, and one without."""
    folder = tmp_path_factory.mktemp("weights")
    done("seed=0,1", "pack=2", KEEP, cwd=folder)
    done("seed=2", cwd=folder)
    return folder


def hashes(folder):
    with contextlib.closing(Ledger(folder / "outputs/ledger.db")) as ledger:
        return {config["seed"]: digest for digest, config in ledger.configs()}


def record(folder, digest):
    with contextlib.closing(Ledger(folder / "outputs/ledger.db")) as ledger:
        return ledger.get(digest)


def test_a_trial_is_loaded_with_the_weights_of_its_last_step(launched):
    for seed in (0, 1):
        digest = hashes(launched)[seed]
        model = sweeps.load_trial(digest[:10], output=launched / "outputs")
        data, stored = deq.load(model.config.data), record(launched, digest)
        assert sweeps.config_hash(model.config) == digest
        loss = 0.5 * float((model.predict(data.x) - data.y).square().sum())
        first = stored.trajectory["loss"][0]
        assert loss == pytest.approx(stored.trajectory["loss"][-1], abs=1e-7 * first)


def test_mlflow_holds_the_file_and_the_trial_is_loaded_from_there(launched, tmp_path):
    api, by_seed = client(launched / "outputs"), hashes(launched)
    files = {
        run.data.tags["sweeps.config_hash"]: {
            file.path for file in api.list_artifacts(run.info.run_id)
        }
        for run in runs(api)[1]
    }
    tags = {run.data.tags["sweeps.config_hash"]: run.data.tags for run in runs(api)[1]}
    assert [NAME in files[by_seed[seed]] for seed in range(3)] == [True, True, False]
    assert [tags[by_seed[seed]].get("sweeps.weights") for seed in range(3)] == [NAME, NAME, None]
    held = launched / "outputs/weights"
    held.rename(tmp_path / "away")
    try:
        model = sweeps.load_trial(by_seed[0], output=launched / "outputs")
    finally:
        (tmp_path / "away").rename(held)
    assert model.config.seed == 0


def test_a_trial_without_weights_is_refused_with_the_remedy(launched):
    with pytest.raises(
        sweeps.ConfigError, match=r"without weights: .* record.weights=true and --force"
    ):
        sweeps.load_trial(hashes(launched)[2], output=launched / "outputs")
    with pytest.raises(sweeps.ConfigError, match="names 0 finished trials"):
        sweeps.load_trial("0123456789", output=launched / "outputs")
    with pytest.raises(sweeps.ConfigError, match="too short for a hash"):
        sweeps.load_trial("", output=launched / "outputs")


def test_a_file_that_is_damaged_or_another_trials_is_refused(launched, tmp_path):
    outputs = shutil.copytree(launched / "outputs", tmp_path / "outputs")
    one, other = (hashes(launched)[seed] for seed in (0, 1))
    shutil.copy(
        outputs / "weights" / f"{other}.safetensors", outputs / f"weights/{one}.safetensors"
    )
    with pytest.raises(sweeps.ConfigError, match=f"of trial {other[:12]}, not of {one[:12]}"):
        sweeps.load_trial(one, output=outputs)
    (outputs / f"weights/{one}.safetensors").write_bytes(b"torn")
    with pytest.raises(sweeps.ConfigError, match=r"holds no trial's weights.* with --force"):
        sweeps.load_trial(one, output=outputs)
    missing = ValueError("no module 'mine'")
    with (
        mock.patch.object(deq, "read_weights", side_effect=missing),
        pytest.raises(sweeps.ConfigError, match=r"^no module 'mine'$"),
    ):
        sweeps.load_trial(one, output=outputs)


def test_finished_trials_without_weights_are_named_and_forced_to_have_some(
    launched, tmp_path, caplog
):
    shutil.copytree(launched / "outputs", tmp_path / "outputs")
    line = "1 finished trial was recorded without weights: "
    line += "`sweeps run` with --force trains finished trials again."
    inside(*INLINE, "seed=0,1,2", KEEP, "--dry-run", cwd=tmp_path)
    assert [
        entry.message for entry in caplog.records if entry.name == "sweeps.driver.first_plan"
    ] == [line]
    assert line in done("seed=0,1,2", KEEP, cwd=tmp_path)
    assert "without weights" not in done("seed=0,1", KEEP, cwd=tmp_path)
    assert "without weights" not in done("seed=0,1,2", cwd=tmp_path)
    assert "without weights" not in done("seed=2", KEEP, "--force", cwd=tmp_path)
    digest = hashes(launched)[2]
    assert sweeps.load_trial(digest, output=tmp_path / "outputs").config.seed == 2
    assert "1 to train" in done("seed=2", "--force", cwd=tmp_path)  # and the old file goes
    assert not (tmp_path / f"outputs/weights/{digest}.safetensors").exists()


def test_sync_sends_weights_again_that_mlflow_has_lost(launched, tmp_path):
    done("seed=0", KEEP, cwd=tmp_path)
    (held,) = (tmp_path / "outputs/mlflow/artifacts").glob(f"*/*/artifacts/{NAME}")
    held.unlink()
    assert "sent again: 1 trial" in inside("sync", cwd=tmp_path).stdout
    assert held.is_file()


def test_weights_are_no_axis(tmp_path):
    refused = inside(*INLINE, "record.weights=true,false", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "sweeps: record.weights is no part of a trial: give one value\n"
    assert not (tmp_path / "outputs").exists()


def packed(*words):
    return [trial.plain for trial in trials_of(request([*SMALL, *words]))]


def test_a_pack_that_goes_on_from_a_checkpoint_has_the_weights_of_all(tmp_path):
    """Also of the trial that had ended before, in another process."""
    plains = packed("seed=0,1")
    plains[0]["train"] |= {"loss_tol": 0.5}
    checkpoints = Checkpoints.under(tmp_path, 1e-9)
    first = train_on_worker(
        plains,
        WorkerSettings("cpu", 1, checkpoints, live_seconds=1e-4, weights=tmp_path / "weights"),
    )
    ended = next(message.record for message in first if isinstance(message, Done))
    for message in first:
        if isinstance(message, Live):
            break
    first.close()  # which writes a checkpoint
    before = (tmp_path / "weights" / ended.weights).read_bytes()
    again = list(
        train_on_worker(plains, WorkerSettings("cpu", 1, checkpoints, weights=tmp_path / "weights"))
    )
    records = [message.record for message in again if isinstance(message, Done)]
    assert [bool(r.environment["resumed_at"]) for r in records] == [True, True]
    assert len({r.weights for r in records}) == len(list((tmp_path / "weights").iterdir())) == 2
    assert (tmp_path / "weights" / ended.weights).read_bytes() == before
    for result in records:
        deq.load_trained(tmp_path / "weights" / result.weights)


def test_a_trial_that_was_stopped_early_has_its_weights(tmp_path):
    judge = Stopping(AshaConfig(min_steps=5, reduction_factor=2), lambda *_: True)
    (result,) = [
        message.record
        for message in train_on_worker(
            packed(), WorkerSettings("cpu", 1, None, judge, weights=tmp_path)
        )
        if isinstance(message, Done)
    ]
    assert result.weights == f"{result.config_hash}-step-5.safetensors"
    assert deq.read_weights(tmp_path / result.weights)[1]["status"] == "stopped"


def test_a_result_is_worth_more_than_its_weights(tmp_path):
    (tmp_path / "weights").write_text("no folder")
    messages = list(
        train_on_worker(packed(), WorkerSettings("cpu", 1, weights=tmp_path / "weights"))
    )
    (result,) = [message.record for message in messages if isinstance(message, Done)]
    assert result.weights == ""
    (note,) = [message.text for message in messages if isinstance(message, Note)]
    assert note.startswith("its weights were not written (")
    assert note.endswith("): --force trains it again")


def test_a_sweep_that_stops_trials_early_keeps_theirs_in_mlflow(tmp_path):
    words = ["train.eta=0.9,0.5,0.3,0.1", "early_stopping=asha", "early_stopping.min_steps=5"]
    done(*words, KEEP, cwd=tmp_path)
    with contextlib.closing(Ledger(tmp_path / "outputs/ledger.db")) as ledger:
        kept = ledger.with_weights()
    stopped = [key for key in kept if key.stopped_in]
    assert len(kept) == 4
    assert stopped
    digest = stopped[0].config_hash
    assert (
        sweeps.config_hash(sweeps.load_trial(digest, output=tmp_path / "outputs").config) == digest
    )
    files = (tmp_path / "outputs/mlflow/artifacts").glob(f"*/*/artifacts/{NAME}")
    assert len(list(files)) == 4
    assert "without weights" not in done(*words, KEEP, cwd=tmp_path)


def test_an_archive_holds_no_weights(launched, tmp_path):
    name = done("seed=0,1", cwd=launched).split()[1].rstrip(":")
    path = tmp_path / "sweep.zip"
    assert inside("export", name, "-o", str(path), cwd=launched).returncode == 0
    with zipfile.ZipFile(path) as archive:
        assert not [file for file in archive.namelist() if "weights" in file]
        assert "record" not in json.loads(archive.read("sweep.json"))["launch"]
    assert inside("import", str(path), cwd=tmp_path).returncode == 0
    with pytest.raises(sweeps.ConfigError, match="without weights"):
        sweeps.load_trial(hashes(launched)[0], output=tmp_path / "outputs")
