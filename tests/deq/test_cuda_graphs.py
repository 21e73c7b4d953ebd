"""Recorded parts of a step are replayed on the same storage and give the same numbers.

A CUDA graph replays kernels on fixed addresses without Python. Here a tape does the same on a
CPU: it records every operation with its tensors, and repeats it on them.
"""

import dataclasses

import pytest
import torch
from small_trials import finished
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deq.activations import elementwise
from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.training import lookahead
from deq.training.cuda_graphs import GraphRecorder, _copy_containers, _tensors
from deq.training.gradient_descent import GradientDescent
from deq.training.lookahead import Lookahead
from deq.training.pack import Pack
from deq.training.state import state_dict

DATA = SphereConfig(n=9, d=5)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Tape(TorchDispatchMode):
    """Records operations; `replay` repeats each on its original tensors."""

    def __init__(self):
        super().__init__()
        self.notes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.notes.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        for func, args, kwargs, first in self.notes:
            given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if _is(t)}
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(first), tree_leaves(again), strict=True):
                if _is(old) and old.untyped_storage()._cdata not in given:  # no view of them
                    old.copy_(new)


def _is(value):
    return isinstance(value, torch.Tensor)


class Taped(list):
    """The keys of the parts that ran."""

    refuses = ""  # a part that cannot be recorded
    recording = False


@pytest.fixture
def taped(monkeypatch):
    """Every step uses lookahead and is recorded on a tape."""
    keys, call = Taped(), GraphRecorder.__call__
    # A tape holds torch's operations only; a GPU uses no others.
    monkeypatch.setattr(elementwise, "_by_numpy", lambda vectorised, function, x: function(x))
    monkeypatch.setattr(lookahead, "worthwhile", lambda pack: True)
    monkeypatch.setattr(lookahead, "launches_matter", lambda pack: True)

    def recorded(self, key, body):
        keys.append(key)

        def record(whole):
            tensors = list(_tensors(state_dict(self.pack)))
            before = [t.clone() for t in tensors]
            keys.recording = True
            try:
                with Tape() as tape:
                    whole()
            finally:
                keys.recording = False
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)  # recording a graph carries nothing out
            return tape.replay

        def part():
            result = body()
            if keys.recording and keys.refuses in (key, key[0]):
                raise RuntimeError("operation not permitted when stream is capturing")
            return result

        self.record = record
        return call(self, key, part)

    monkeypatch.setattr(GraphRecorder, "__call__", recorded)
    return keys


KINDS = [("tanh", "full"), ("relu", "full"), ("tanh", "mixed")]


def config(name, seed=0, eta=0.5, steps=40, precision="full"):
    return TrialConfig(
        data=DATA,
        model=ModelConfig(width=32, activation=name),
        train=TrainConfig(steps=steps, eta=eta),
        solver=SolverConfig(tol=1e-6, precision=precision),
        seed=seed,
        dtype="float32" if precision == "mixed" else "float64",
    )


def losses(configs):
    descent = finished(GradientDescent(configs, [load(DATA) for _ in configs]))
    return [[row["loss"] for row in run.rows] for run in descent.runs]


@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_replayed_graphs_give_the_same_trajectory(name, precision, taped, monkeypatch):
    """To the last bit, while a trial leaves the pack and some guesses are too low."""
    configs = [
        config(name, precision=precision),
        config(name, seed=1, eta=0.9, steps=25, precision=precision),
    ]
    recorded = losses(configs)
    assert taped.count("descend") > 15
    assert len(taped) > 2 * len(set(taped))  # each part was replayed, not recorded anew
    monkeypatch.setattr(lookahead, "launches_matter", lambda pack: False)
    assert recorded == losses(configs)


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize("rule", [{"momentum": 0.5}, {"batch": 4}, {"momentum": 0.3, "batch": 5}])
def test_steps_with_a_memory_or_a_batch_are_not_replayed(name, rule, taped, monkeypatch):
    """Their other parts are, and the trajectory is the same to the last bit."""
    configs = [
        dataclasses.replace(one, train=dataclasses.replace(one.train, **rule))
        for one in (config(name, eta=0.1), config(name, seed=1, eta=0.2, steps=25))
    ]
    recorded = losses(configs)
    assert "descend" not in taped
    assert len(taped) > 2 * len(set(taped)) > 0
    monkeypatch.setattr(lookahead, "launches_matter", lambda pack: False)
    assert recorded == losses(configs)


def test_states_are_restored_to_their_storage(taped):
    """After every part the pack's states are in their own storage, apart from scratch."""
    pack = Pack([config("relu")], [load(DATA)], torch.device("cpu"))
    pack.eta[:] = 0.01
    ahead = Lookahead(pack)
    homes = []
    for _ in range(12):
        if ahead.step() is None:
            ahead.record(pack.solve_equilibria(), pack.solve_adjoints())
        else:
            homes.append([t.data_ptr() for t in _tensors(_copy_containers(state_dict(pack)))])
            scratch = {b.data_ptr() for b in (*pack.buffers, *pack.spare)}
            assert not scratch & set(homes[-1])
        ahead.descend()
    assert len(homes) > 5
    assert all(home == homes[0] for home in homes)


@pytest.mark.parametrize("part", ["enqueue", "accept", "descend"])
def test_a_part_that_cannot_be_recorded_runs_directly(part, taped, monkeypatch, caplog):
    """To the last bit, although recording fails after the part has moved the states."""
    taped.refuses = part
    recorded = losses([config("relu")])
    assert "not permitted" in caplog.text
    monkeypatch.setattr(lookahead, "launches_matter", lambda pack: False)
    assert recorded == losses([config("relu")])


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_on_a_gpu_graphs_give_the_numbers_of_the_kernels(name, precision, monkeypatch):
    """To 1e-9 relative in the loss, float64; 1e-4 in mixed precision."""
    monkeypatch.setattr(lookahead, "worthwhile", lambda pack: True)
    values = []
    for launches in (True, False):
        monkeypatch.setattr(lookahead, "launches_matter", lambda pack, given=launches: given)
        descent = finished(
            GradientDescent([config(name, precision=precision)], [load(DATA)], "cuda")
        )
        values.append(torch.tensor([row["loss"] for row in descent.runs[0].rows]))
    rtol = 1e-4 if precision == "mixed" else 1e-9
    torch.testing.assert_close(*values, rtol=rtol, atol=0.0)
