"""Stated and used memory; pack sizes."""

import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_trials import finished
from torch.utils._python_dispatch import TorchDispatchMode

from deq import memory, pack_size
from deq.config import DiagnosticsConfig, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.training import lookahead
from deq.training.comparison import compare
from deq.training.gradient_descent import GradientDescent


class Storages(TorchDispatchMode):
    """Counts the bytes of all live tensors, and the tensors of one size."""

    def __init__(self, watched):
        super().__init__()
        self.sizes, self.bytes, self.peak, self.watched, self.many = {}, 0, 0, watched, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor) and x.untyped_storage()._cdata not in self.sizes:
                storage = x.untyped_storage()
                self.sizes[storage._cdata] = storage.nbytes()
                self.bytes += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata)
        self.peak = max(self.peak, self.bytes)
        self.many = max(self.many, list(self.sizes.values()).count(self.watched))
        return out

    def _gone(self, key):
        self.bytes -= self.sizes.pop(key)


def trial(name, dtype="float32", width=600, solver="picard", steps=13, precision="full"):
    return TrialConfig(
        model=ModelConfig(width=width, activation=name),
        train=TrainConfig(steps=steps),
        solver=SolverConfig(name=solver, tol=1e-6, precision=precision),
        dtype=dtype,
    )


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_memory_is_an_upper_bound_within_30_percent(name, dtype, device, monkeypatch):
    """Used memory is 0.7 to 1 of that stated; there is never a second W.

    A GPU's way of training is taken here on the CPU.
    """
    monkeypatch.setattr(lookahead, "worthwhile", lambda pack: device == "cuda")
    config, data = trial(name, dtype), load(SphereConfig(n=40, d=20))
    with Storages(watched=600 * 600 * (4 if dtype == "float32" else 8)) as storages:
        finished(GradientDescent([config], [data]))
    stated = memory(config, 20, 40, device)
    assert 0.7 * stated < storages.peak <= stated
    assert storages.many == 1


@pytest.mark.parametrize("solver", ["anderson", "broyden", "newton_krylov"])
def test_solvers_use_at_most_the_stated_memory(solver):
    config, data = trial("tanh", width=300, solver=solver, steps=4), load(SphereConfig(n=60, d=20))
    with Storages(watched=0) as storages:
        finished(GradientDescent([config], [data]))
    assert storages.peak <= memory(config, 20, 60)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_mixed_precision_uses_at_most_the_stated_memory(name):
    """And holds no second W, not even a rounded copy."""
    config, data = trial(name, precision="mixed", steps=4), load(SphereConfig(n=40, d=20))
    with Storages(watched=600 * 600 * 4) as storages:
        finished(GradientDescent([config], [data]))
    assert 0.7 * memory(config, 20, 40) < storages.peak <= memory(config, 20, 40)
    assert storages.many == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks_of_finite_depth_use_at_most_the_stated_memory(dtype):
    """Beside the pack, whose other trials may still train."""
    diagnostics = DiagnosticsConfig(depth=6)
    config = replace(trial("tanh", dtype, width=900, steps=2), diagnostics=diagnostics)
    data = load(SphereConfig(n=8, d=20))
    with Storages(watched=0) as storages:
        descent = finished(GradientDescent([config], [data]))
        held = [descent, torch.empty(900, 900, dtype=config.torch_dtype)]  # the pack's W
        compare(descent.runs[0])
    assert len(held) == 2
    assert 0.6 * memory(config, 20, 8) < storages.peak <= memory(config, 20, 8)


def test_trials_leave_a_pack_without_a_second_w():
    configs = [trial("tanh", width=200, steps=steps) for steps in (3, 30, 8)]
    data = load(SphereConfig(n=10, d=5))
    with Storages(watched=3 * 200 * 200 * 4) as storages:
        finished(GradientDescent(configs, [data] * 3))
    assert storages.many == 1
    assert list(storages.sizes.values()).count(2 * 200 * 200 * 4) == 0


def test_memory_at_the_papers_size():
    """M = 30000, n = 1000, float32: W is 3.6 GB, a (m, n) tensor 0.12 GB."""
    full = trial("relu", width=30000)
    assert 3.6e9 < memory(full, 1000, 1000) < 3.6e9 + 26 * 0.12e9
    assert memory(trial("tanh", width=30000), 1000, 1000) < 3.6e9 + 18 * 0.12e9


def test_small_trials_are_packed_on_a_cpu():
    assert pack_size(trial("relu", width=64), 10, 10) > 1
    assert pack_size(trial("relu", width=1024), 10, 10) == 1


def test_pack_size_on_a_gpu_is_limited_by_its_memory(monkeypatch):
    """132 multiprocessors as on an H100; the device is mocked."""
    small, large = trial("relu", width=256), trial("relu", width=30000)

    def on_gpu(config, n, free, share=1.0):
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda device: SimpleNamespace(multi_processor_count=132),
        )
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
        return pack_size(config, 100, n, "cuda", share)

    assert on_gpu(small, 128, 80e9) == 132  # two tiles each
    assert on_gpu(small, 128, 2 * 10.5 * memory(small, 100, 128, "cuda")) == 10
    assert on_gpu(large, 1000, 8e9) == 1
    # Two packs that share a GPU do not fill it: each gets half of what one alone would get.
    assert on_gpu(small, 128, 4 * 10.5 * memory(small, 100, 128, "cuda"), share=0.5) == 10
