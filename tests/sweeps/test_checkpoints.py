"""An interrupted sweep continues from checkpoints with bit-identical results."""

import contextlib
import json
from pathlib import Path

import pytest
from command import client, runs, sweeps

import deq
from deq.training.checkpoint import write_checkpoint
from sweeps.config.request import request, trial_from_plain
from sweeps.execution.checkpoint_writer import CheckpointWriter
from sweeps.execution.events import Done, Note, Progress
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.worker import run_pack, train_on_worker
from sweeps.planning.plan import plan, trials_of
from sweeps.storage.checkpoints import CheckpointCleaner, Checkpoints, begin_pack
from sweeps.storage.record import now

pytestmark = pytest.mark.slow

WORDS = ["data.n=8", "model.width=16", "train.loss_tol=0", "train.eta=0.05"]

INTERRUPTER = """import os
import signal
from pathlib import Path

import torch

import deq

HERE = Path(__file__).parent
MARK = HERE / "mark"


def tanh(x):
    if MARK.exists():
        files = HERE.glob("outputs/checkpoints/*/step-*")
        if max((int(f.name.split("-")[1]) for f in files), default=0) > int(MARK.read_text()):
            MARK.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    return torch.tanh(x)


def slope(x):
    return 1 - torch.tanh(x) ** 2


curve = deq.Activation("curve", tanh, slope, 1.0, 0.7698003589195009, 0.0, True)
"""


def newest_step(root):
    return max(int(f.name.split("-")[1]) for f in root.glob("checkpoints/*/step-*.npz"))


def test_a_killed_driver_and_a_killed_worker(tmp_path, monkeypatch):
    """Assert that the pack continues from its checkpoint each time, and its record has the step."""
    (tmp_path / "interrupter.py").write_text(INTERRUPTER)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [*WORDS, "model.activation=interrupter:curve", "train.steps=1200", "pack=2"]
    words += ["seed=range(0,2)", "checkpoint.every_seconds=0.05"]
    trials = trials_of(request(words))
    whole = [m.record for m in run_pack([t.plain for t in trials], "cpu", 1) if isinstance(m, Done)]

    mark, root = tmp_path / "mark", tmp_path / "outputs"
    mark.write_text("0")
    assert sweeps("run", *words, "cluster=inline", cwd=tmp_path).returncode == -9
    first, at = newest_step(root), now()
    mark.write_text(str(first))
    done = sweeps("run", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()

    resumed = [json.loads(f.read_text())["resumed_at"] for f in root.rglob("environment.json")]
    second = resumed[0][1]
    assert resumed == [[first, second]] * 2
    assert 0 < first < second < 1200
    for step in (first, second):
        assert f"seed=0: pack of 2: goes on from step {step}\n" in done.stdout
    _, ours = runs(client(root))
    for run in ours:
        (theirs,) = [r for r in whole if r.config["seed"] == int(run.data.params["seed"])]
        place = Path(run.info.artifact_uri.removeprefix("file://"))
        assert (place / "trajectory.parquet").read_bytes() == theirs.parquet()
        assert run.info.start_time < at
        assert f"from step {first}, {second}." in run.data.tags["mlflow.note.content"]
    assert not list((root / "checkpoints").iterdir())


def planned(count, *words):
    return trials_of(request([*WORDS, "train.steps=40", f"seed=range(0,{count})", *words]))


def hashes(trials):
    return [trial.config_hash for trial in trials]


def begun(checkpoints, trials):
    """Train until the first step is done, then interrupt."""
    messages = train_on_worker(
        [trial.plain for trial in trials], WorkerSettings("cpu", 1, checkpoints)
    )
    with contextlib.closing(messages):
        for message in messages:
            assert isinstance(message, Progress)
            if message.loss > 0:
                break


def test_an_interruption_leaves_a_checkpoint_for_the_same_pack_only(checkpoints):
    trials = planned(3)
    begun(checkpoints, trials[:2])
    assert list(checkpoints.packs().values()) == [hashes(trials[:2])]
    assert checkpoints.orphaned([hashes(trials[:2])]) == []
    assert checkpoints.orphaned([hashes(trials[1:])]) == hashes(trials[1:2])
    note, *_, done = train_on_worker(
        [trial.plain for trial in trials[:2]], WorkerSettings("cpu", 1, checkpoints)
    )
    assert note == Note(trials[0].config_hash, "pack of 2: goes on from step 1")
    assert done.record.environment["resumed_at"] == [1]
    other = train_on_worker(
        [trial.plain for trial in trials[1:]], WorkerSettings("cpu", 1, checkpoints)
    )
    assert [m.record.environment["resumed_at"] for m in other if isinstance(m, Done)] == [[], []]
    assert not list(Checkpoints(checkpoints.root, 0.0).packs())
    (file,) = checkpoints.folder(hashes(trials[:2])).glob("step-*")
    file.write_bytes(file.read_bytes()[:-1])
    first, second, *_ = train_on_worker(
        [trial.plain for trial in trials[:2]], WorkerSettings("cpu", 1, checkpoints)
    )
    damaged = "pack of 2: the checkpoint of step 1 is not used: it is damaged, or cut off"
    assert [first.text, second.text] == [damaged, "pack of 2: starts anew from step 0"]


def test_a_checkpoint_is_removed_when_the_last_trial_of_its_pack_has_ended(checkpoints):
    trials = planned(3)
    packs = [hashes(trials[:2]), hashes(trials[2:])]
    begun(checkpoints, trials[:2])
    begun(checkpoints, trials[2:])
    ended = CheckpointCleaner(checkpoints, packs)
    ended.add(packs[0][0])
    checkpoints.remove_ended(packs[0][:1])
    assert len(checkpoints.packs()) == 2
    ended.add(packs[0][1])
    assert list(checkpoints.packs().values()) == [packs[1]]
    checkpoints.remove_ended(hashes(trials))
    assert not checkpoints.packs()
    begun(checkpoints, trials[:2])
    checkpoints.forget(packs[1])
    assert len(checkpoints.packs()) == 1
    checkpoints.forget(packs[0][1:])
    assert not checkpoints.packs()


def test_the_list_of_a_pack_is_never_rewritten(checkpoints, monkeypatch):
    """A launch that reads it while another process writes it would remove the checkpoint."""
    begun(checkpoints, planned(2))
    ((folder, pack),) = checkpoints.packs().items()
    before = (folder / "trials").stat()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", lambda *_: pytest.fail("written again"))
        begin_pack(folder, pack)
    assert (folder / "trials").stat().st_mtime_ns == before.st_mtime_ns
    (folder / "trials").write_text("")
    checkpoints.remove_ended(pack)
    assert list(folder.glob("step-*.npz"))


def test_a_plan_keeps_packs_that_have_a_checkpoint():
    trials = planned(6)
    kept, split = hashes([trials[4], trials[1]]), hashes([trials[4], trials[0]])

    def packs(**options):
        sweep = plan(trials, study="", **{"pack": 3, "checkpointed": [kept, split, []]} | options)
        return [[hashes(trials).index(digest) for digest in pack] for pack in sweep.hashes]

    assert packs() == [[0, 2, 3], [4, 1], [5]]
    assert packs(finished=[trials[1].config_hash]) == [[2, 3, 5], [4, 0]]
    assert packs(pack=1) == [[0], [1], [2], [3], [4], [5]]


def test_training_continues_if_no_checkpoint_can_be_written(tmp_path):
    """The folder is a file, which raises an error as a full disk does."""
    (tmp_path / "checkpoints").touch()
    everywhere = Checkpoints.under(tmp_path, 1e-9)
    messages = list(
        train_on_worker([trial.plain for trial in planned(1)], WorkerSettings("cpu", 1, everywhere))
    )
    (note,) = [m.text for m in messages if isinstance(m, Note)]
    assert note.startswith("no checkpoint was written, training goes on (NotADirectoryError")
    assert isinstance(messages[-1], Done)


def test_a_checkpoint_that_does_not_fit_is_reported_and_the_trial_starts_anew(checkpoints):
    """The file is intact, but has another number of trials."""
    trials = planned(2)
    begun(checkpoints, trials)
    folder, alone = checkpoints.folder(hashes(trials)), checkpoints.folder(hashes(trials[:1]))
    alone.mkdir()
    descent = next(deq.train_pack([trial_from_plain(trial.plain) for trial in trials]))
    stamp = CheckpointWriter(checkpoints, hashes(trials[:1]), "cpu")._stamp()
    write_checkpoint(alone, descent, stamp, {"started": 1, "resumed_at": []})
    *messages, done = train_on_worker([trials[0].plain], WorkerSettings("cpu", 1, checkpoints))
    assert done.record.environment["resumed_at"] == []
    notes = [message.text for message in messages if isinstance(message, Note)]
    assert notes[0] == "goes on from step 1"
    assert notes[1].startswith("its checkpoint is not used (")
    assert notes[1].endswith("starts anew")
    assert not alone.exists()
    assert folder.exists()
    alone.mkdir()
    write_checkpoint(alone, descent, stamp, {})
    first, *_, done = train_on_worker([trials[0].plain], WorkerSettings("cpu", 1, checkpoints))
    assert first.text.startswith("its checkpoints cannot be read (")
    assert done.record.environment["resumed_at"] == []
