"""Points that are sent while a trial trains are part of its finished run."""

import itertools
import re
import sys
from types import SimpleNamespace

import pytest

from sweeps.config.request import request
from sweeps.execution import system_metrics
from sweeps.execution.events import Done
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.worker import train_on_worker
from sweeps.planning.plan import trials_of
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.step_metrics import Live, points_of

pytestmark = pytest.mark.slow

COMMAND = ["data=sphere", "data.n=8", "data.d=5", "model.width=16", "train.steps=150"]


def plains(*more):
    return [trial.plain for trial in trials_of(request([*COMMAND, *more]))]


def shown(messages):
    return [point for m in messages if isinstance(m, Live) for point in m.points]


def record(messages):
    (result,) = [m.record for m in messages if isinstance(m, Done)]
    return result


@pytest.mark.parametrize("words", [["dtype=float64"], ["dtype=float32", "solver.tol=1e-6"]])
def test_live_points_are_points_of_the_finished_run(words):
    messages = list(train_on_worker(plains(*words), WorkerSettings("cpu", 1, live_seconds=1e-4)))
    points, whole = shown(messages), points_of(record(messages))
    assert len(points) > 1000
    assert len(set(points)) == len(points)
    assert set(points) <= set(whole)
    assert {p.key for p in whole if p.key.startswith("system/")} >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
    }
    assert {p.key for p in points if p.key.startswith("curve/")} == {
        "curve/loss",
        "curve/loss_linearized",
        "curve/loss_bound",
        "curve/lambda_ratio",
    }


def test_a_pack_sends_points_of_each_trial():
    messages = list(
        train_on_worker(plains("seed=0,1", "pack=2"), WorkerSettings("cpu", 1, live_seconds=1e-4))
    )
    for done in (m for m in messages if isinstance(m, Done)):
        mine = [m for m in messages if isinstance(m, Live)]
        mine = [m for m in mine if m.config_hash == done.record.config_hash]
        assert shown(mine)
        assert set(shown(mine)) <= set(points_of(done.record))


def test_repeated_steps_send_the_same_points(tmp_path):
    (plain,) = plains()
    checkpoints = Checkpoints.under(tmp_path, 1e-3)
    first = train_on_worker([plain], WorkerSettings("cpu", 1, checkpoints, live_seconds=1e-4))
    before = list(itertools.islice(first, 60))
    folder = next((tmp_path / "checkpoints").iterdir())
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    before += list(itertools.islice(first, 30))  # steps that will be done again
    first.close()
    late = (folder / "shown.json").read_bytes()
    for file in folder.iterdir():
        file.unlink()
    for name, content in kept.items():  # the worker was killed: its last checkpoint is older
        (folder / name).write_bytes(content)
    (folder / "shown.json").write_bytes(late)
    after = list(train_on_worker([plain], WorkerSettings("cpu", 1, checkpoints, live_seconds=1e-4)))
    later = record(after)
    assert 0 < later.environment["resumed_at"][0] < max(p.step for p in shown(before))
    assert set(shown(before)) | set(shown(after)) <= set(points_of(later))


def test_a_trial_that_starts_anew_has_new_times(tmp_path):
    (plain,) = plains()
    checkpoints = Checkpoints.under(tmp_path, 1e9)
    first = train_on_worker([plain], WorkerSettings("cpu", 1, checkpoints, live_seconds=1e-4))
    before = shown(itertools.islice(first, 40))
    assert before
    folder = next((tmp_path / "checkpoints").iterdir())
    for file in folder.glob("*.npz"):
        file.unlink()
    later = record(
        train_on_worker([plain], WorkerSettings("cpu", 1, checkpoints, live_seconds=1e-4))
    )
    assert later.environment["resumed_at"] == []
    assert not set(before) & set(points_of(later))


def test_a_short_trial_and_live_seconds_0_send_no_points():
    for seconds in (0.0, 1000.0):
        messages = list(train_on_worker(plains(), WorkerSettings("cpu", 1, live_seconds=seconds)))
        assert not [m for m in messages if isinstance(m, Live)]
        assert not [p for p in points_of(record(messages)) if p.key.startswith("system/")]


class Nvml(SimpleNamespace):
    """A stand-in of pynvml on a machine with eight GPUs; the use of each is its number."""

    NVMLError = OSError

    def __init__(self):
        super().__init__(
            nvmlInit=lambda: None,
            nvmlDeviceGetCount=lambda: 8,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=gpu * 1e6, total=8e6),
            nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=gpu),
        )


@pytest.mark.parametrize(
    ("device", "visible", "sampled"),
    [("cpu", "4,5", []), ("cuda", "4,5", [4, 5]), ("cuda", "", [])],
)
def test_only_the_gpus_that_a_trial_trains_on_are_sampled(monkeypatch, device, visible, sampled):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    system_metrics._handles.cache_clear()
    try:
        sample = system_metrics.Sampler(device).sample()
    finally:
        system_metrics._handles.cache_clear()
    use = [v for k, v in sample.items() if re.fullmatch(r"system/gpu_\d_utilization_percentage", k)]
    assert use == sampled
    assert "system/cpu_utilization_percentage" in sample
