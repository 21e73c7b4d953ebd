"""Lookahead gives the numbers of `solve` and reads from the device once."""

import pytest
import torch
from small_trials import finished
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._pytree import tree_map

from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.training import lookahead
from deq.training.gradient_descent import GradientDescent
from deq.training.lookahead import Lookahead
from deq.training.pack import Pack

DATA = SphereConfig(n=12, d=6)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


KINDS = [("tanh", "full"), ("relu", "full"), ("relu", "mixed")]


def config(name, seed=0, eta=0.5, steps=40, precision="full"):
    return TrialConfig(
        data=DATA,
        model=ModelConfig(width=48, activation=name),
        train=TrainConfig(steps=steps, eta=eta),
        solver=SolverConfig(tol=1e-6, precision=precision),
        seed=seed,
        dtype="float32" if precision == "mixed" else "float64",
    )


def trained(configs, device="cpu"):
    descent = finished(GradientDescent(configs, [load(DATA) for _ in configs], device))
    return descent.runs


@pytest.fixture
def counted(monkeypatch):
    """Every step uses lookahead, as on a GPU; counts of steps queued and accepted."""
    counts = {"enqueue": 0, "accept": 0}
    monkeypatch.setattr(lookahead, "worthwhile", lambda pack: True)
    for name in counts:
        method = getattr(Lookahead, name)

        def watched(self, *args, name=name, method=method):
            counts[name] += 1
            return method(self, *args)

        monkeypatch.setattr(Lookahead, name, watched)
    return counts


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_lookahead_gives_the_same_trajectory(name, counted, monkeypatch):
    configs = [config(name), config(name, seed=1, eta=0.9), config(name, eta=0.1, steps=25)]
    ahead = trained(configs)
    assert counted["accept"] > 20  # of 40 steps
    monkeypatch.setattr(lookahead, "worthwhile", lambda pack: False)
    accepted = counted["accept"]
    watched = trained(configs)
    assert counted["accept"] == accepted
    for one, other in zip(ahead, watched, strict=True):
        assert one.status == other.status
        assert len(one.rows) == len(other.rows)
        for key in ("loss", "forward_steps", "adjoint_steps", "flipped", "lambda_min_tangent"):
            a = torch.tensor([row[key] for row in one.rows], dtype=torch.float64)
            b = torch.tensor([row[key] for row in other.rows], dtype=torch.float64)
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-12, equal_nan=True)


def test_a_guess_that_is_too_low_changes_nothing(counted):
    pack = Pack([config("relu")], [load(DATA)], torch.device("cpu"))
    pack.eta[:] = 0.01
    for _ in range(4):
        pack.solve_equilibria()
        pack.solve_adjoints()
        pack.descend()
    before = {name: value.clone() for name, value in tensors_of(pack).items()}
    ahead = Lookahead(pack)
    ahead.maps = [[1, 1]]
    assert ahead.step() is None
    assert counted == {"enqueue": 1, "accept": 0}
    after = tensors_of(pack)
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def tensors_of(pack):
    """The tensors that the next step reads, by name."""
    names = ("w", "a", "p", "z", "r", "e", "mask", "tol", "flipped")
    tensors = {name: getattr(pack, name) for name in names}
    for side in ("forward", "adjoint"):
        predictor = getattr(pack, side)
        tensors |= {f"{side} last": predictor.last, f"{side} source": predictor.source}
    return tensors


@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_a_step_reads_from_the_device_once(name, precision):
    """Fake tensors have no values: reading one raises an error."""
    pack = Pack([config(name, precision=precision)], [load(DATA)], torch.device("cpu"))
    pack.eta[:] = 0.01
    for _ in range(3):
        pack.solve_equilibria()
        pack.solve_adjoints()
        pack.descend()
    with FakeTensorMode() as mode:
        _without_values(pack, mode)
        ahead = Lookahead(pack)
        pack.allocate_spare()
        pending = ahead.enqueue(2, 2)
        with pytest.raises(DataDependentOutputException):
            pending.figures.tolist()  # the read
        ahead.accept(pending)
        pack.descend()
        with pytest.raises(RuntimeError, match="numpy"):
            pack.solve_equilibria()  # `solve` reads the residuals


def _without_values(thing, mode):
    for key, value in vars(thing).items():
        if type(value).__module__ == "deq.solvers.prediction":
            _without_values(value, mode)
        elif isinstance(value, torch.Tensor | list):
            fake = tree_map(
                lambda v: mode.from_tensor(v) if isinstance(v, torch.Tensor) else v, value
            )
            setattr(thing, key, fake)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_a_step_on_a_gpu_waits_once(name, precision, counted):
    pack = Pack([config(name, precision=precision)], [load(DATA)], torch.device("cuda"))
    pack.eta[:] = 0.01
    ahead = Lookahead(pack)
    for _ in range(3):
        ahead.record(pack.solve_equilibria(), pack.solve_adjoints())
        pack.descend()
    pack.allocate_spare()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = ahead.enqueue(3, 3)
        ahead.accept(pending)
        pack.descend()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.isfinite(pending.figures).all())


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_a_gpu_gives_the_losses_of_the_cpu(name):
    """To 1e-6 relative in the loss over 40 steps, float64."""
    here, there = trained([config(name)]), trained([config(name)], "cuda")
    losses = [torch.tensor([row["loss"] for row in c[0].rows]) for c in (here, there)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0.0)
