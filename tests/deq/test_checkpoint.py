"""Checkpoints: a restored descent continues bit for bit, or the reason is reported."""

import hashlib
import io
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trials import finished

import deq
from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.training import checkpoint as checkpoint_module
from deq.training.checkpoint import (
    PACKAGE,
    UnusableError,
    load_newest,
    numerical_environment,
    write_checkpoint,
)
from deq.training.gradient_descent import GradientDescent

DATA = load(SphereConfig(n=5, d=4, seed=3))
NARROW = {"dtype": "float32", "solver": SolverConfig(tol=1e-6, finish="float64")}
MIXED = {
    "dtype": "float32",
    "solver": SolverConfig(tol=1e-6, finish="float64", precision="mixed"),
}
STAMP = {"trials": "these", **numerical_environment()}
# Storage that every solve overwrites before it reads it.
SCRATCH = {"buffers", "spare"}


def trial(name="tanh", seed=0, steps=300, **parts):
    base = {"data": SphereConfig(n=5, d=4, seed=3), "model": ModelConfig(100, name)}
    return TrialConfig(**base, train=TrainConfig(steps, eta=0.9), seed=seed, **parts)


def after(descent, step):
    """Train until this step has been measured; return the descent."""
    next(s for s in descent if s == step)
    return descent


def resumed(folder, configs):
    checkpoint, _ = load_newest(folder, STAMP)
    return checkpoint.descent(configs, [DATA] * len(configs))


def attributes_of(thing, name=""):
    """Every tensor and number that an object of deq holds, by its place."""
    if isinstance(thing, torch.Tensor):
        yield name, (thing.dtype, thing.shape, thing.stride(), thing.numpy().tobytes())
    elif isinstance(thing, list | tuple):
        for k, part in enumerate(thing):
            yield from attributes_of(part, f"{name}[{k}]")
    elif isinstance(thing, dict) or type(thing).__module__.startswith("deq."):
        parts = thing if isinstance(thing, dict) else vars(thing)
        for key in sorted(parts.keys() - SCRATCH):
            yield from attributes_of(parts[key], f"{name}.{key}")
    elif not callable(thing):
        yield name, repr(thing)


@pytest.mark.parametrize(
    ("name", "parts"), [("tanh", {}), ("relu", {}), ("relu", NARROW), ("tanh", MIXED)]
)
def test_every_attribute_of_a_descent_is_restored(name, parts, tmp_path):
    """A new attribute of a class of deq must be in its STATE, or this fails."""
    configs = [trial(name, seed, steps, **parts) for seed, steps in ((0, 12), (1, 300), (2, 300))]
    descent = after(GradientDescent(configs, [DATA] * 3), 45)
    assert len(descent.groups) == (2 if parts else 1)
    write_checkpoint(tmp_path, descent, STAMP, {})
    ours, theirs = (dict(attributes_of(d)) for d in (descent, resumed(tmp_path, configs)))
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if ours[key] != theirs[key]] == []
    assert sum("groups" in key for key in ours) > 25


@pytest.mark.parametrize(
    ("name", "count", "parts"),
    [("tanh", 1, {}), ("relu", 1, {}), ("tanh", 1, NARROW), ("relu", 1, MIXED), ("relu", 3, {})],
)
def test_repeated_interruptions_do_not_change_a_single_bit(name, count, parts, tmp_path):
    """Interrupted at the start, where another trial ends, where float64 begins, at the end."""
    configs = [
        trial(name, seed, (300 if parts else 100) - 40 * seed, **parts) for seed in range(count)
    ]
    data = [DATA] * count
    whole = finished(GradientDescent(configs, data))
    roundings = [row["rounding"] for row in whole.runs[0].rows]
    last, finish = len(roundings) - 2, roundings.index(torch.finfo(torch.float64).eps)
    assert (finish > 9) == bool(parts)
    descent = GradientDescent(configs, data)
    for step in sorted({0, 3, 19, 20, 21, 59, 60, 61, finish - 1, finish, finish + 1, last} - {-1}):
        write_checkpoint(tmp_path, after(descent, step), STAMP, {})
        descent = resumed(tmp_path, configs)
    for ours, theirs in zip(finished(descent).runs, whole.runs, strict=True):
        assert repr(ours.rows) == repr(theirs.rows)
        assert (ours.status, ours.reason, ours.eta) == (theirs.status, theirs.reason, theirs.eta)
        assert torch.equal(ours.initial.tangent, theirs.initial.tangent)


@pytest.fixture
def two(tmp_path):
    """A folder of two checkpoints, of steps 4 and 8, numbered in their metadata."""
    descent = GradientDescent([trial()], [DATA])
    for k, step in enumerate((2, 3, 7)):
        write_checkpoint(tmp_path, after(descent, step), STAMP, {"number": k})
    assert [path.name[:14] for path in sorted(tmp_path.iterdir())] == [
        "step-000000004",
        "step-000000008",
    ]
    return tmp_path


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut off":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut off", "a bit flipped"])
def test_a_damaged_checkpoint_is_reported_and_the_older_one_is_used(two, how):
    before, last = sorted(two.iterdir())
    spoil(last, how)
    (two / "x.new").touch()
    checkpoint, messages = load_newest(two, STAMP)
    assert (checkpoint.step, checkpoint.metadata) == (4, {"number": 1})
    assert messages == [
        "the checkpoint of step 8 is not used: it is damaged, or cut off",
        "goes on from step 4",
    ]
    assert list(two.iterdir()) == [before]
    spoil(before, how)
    checkpoint, messages = load_newest(two, STAMP)
    assert checkpoint is None
    assert messages[-1] == "starts anew from step 0"
    assert load_newest(two, STAMP) == (None, [])


def test_a_checkpoint_that_is_removed_while_the_folder_is_read_is_not_missed(two, monkeypatch):
    """A killed driver's worker, which lives a second longer, writes two newer ones meanwhile."""
    descent, read = after(GradientDescent([trial()], [DATA]), 11), checkpoint_module._read
    listed = []

    def late(path, device):
        if not listed:
            write_checkpoint(two, descent, STAMP, {"number": 3})
            write_checkpoint(two, after(descent, 15), STAMP, {"number": 4})
        listed.append(path)
        return read(path, device)

    monkeypatch.setattr(checkpoint_module, "_read", late)
    checkpoint, messages = load_newest(two, STAMP)
    assert (checkpoint.step, checkpoint.metadata) == (16, {"number": 4})
    assert messages == ["goes on from step 16"]
    assert len(listed) == 2


@pytest.mark.parametrize(("key", "value"), [("trials", "those"), ("deq", "older"), ("threads", 9)])
def test_a_checkpoint_with_another_stamp_is_refused(two, key, value):
    assert load_newest(two, STAMP)[0].step == 8
    checkpoint, messages = load_newest(two, STAMP | {key: value})
    assert checkpoint is None
    assert f"{key} was {STAMP[key]}, is {value}" in messages[0]
    assert messages[-1] == "starts anew from step 0"


def test_a_full_disk_does_not_change_older_checkpoints(two):
    """A limit on the file size fails like a full disk."""
    descent, before = after(GradientDescent([trial()], [DATA]), 20), sorted(two.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[0].stat().st_size // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_checkpoint(two, descent, STAMP, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(two.iterdir()) == before
    assert load_newest(two, STAMP)[0].step == 8


def messages_about(folder, stamp=STAMP):
    """Messages about a folder without a usable checkpoint."""
    checkpoint, messages = load_newest(folder, stamp)
    assert checkpoint is None
    return messages


def named(folder, content, step="000000009"):
    """A file of this content under the name of an intact checkpoint."""
    path = folder / f"step-{step}-{hashlib.sha256(content).hexdigest()}.npz"
    path.write_bytes(content)
    return path


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        archive(other=np.zeros(3)),
        archive(header=np.zeros(3, dtype=np.uint8)),
        archive(header=np.frombuffer(b"[]", dtype=np.uint8)),
        archive(header=np.frombuffer(b'{"state": {"groups": [{"array": "x"}]}}', dtype=np.uint8)),
        archive(
            header=np.frombuffer(
                b'{"state": {"groups": [], "step": 1}, "stamp": 3, "metadata": {}}', dtype=np.uint8
            )
        ),
    ],
)
def test_an_intact_file_that_is_no_checkpoint_is_not_used(content, tmp_path):
    named(tmp_path, content)
    first, last = messages_about(tmp_path)
    assert first.startswith("the checkpoint of step 9 is not used: it is no checkpoint (")
    assert last == "starts anew from step 0"
    assert not list(tmp_path.iterdir())


def test_a_file_name_without_a_step_is_not_used(two):
    for path in two.iterdir():
        path.rename(two / f"step-abc-{path.stem.split('-')[2][1:]}x.npz")
    (two / "step-0-f.npz").touch()
    first, *_, last = messages_about(two)
    assert first == "the checkpoint of step abc is not used: it is damaged, or cut off"
    assert last == "starts anew from step 0"


def test_the_state_of_other_trials_is_unusable(two):
    checkpoint, _ = load_newest(two, STAMP)
    with pytest.raises(UnusableError):
        checkpoint.descent([trial(), trial()], [DATA, DATA])


def test_the_code_digest_covers_the_whole_package():
    assert Path(deq.__file__).parent == PACKAGE
