"""Float32, the float64 finish, tolerances, and the same numbers on a GPU."""

import pytest
import torch
from small_trials import DATA, SOME, config, run_to_end

from deq.config import ModelConfig, SolverConfig, TrainConfig
from deq.training.comparison import train
from deq.training.gradient_descent import GradientDescent


@pytest.mark.parametrize("name", SOME)
def test_float32_follows_float64(name):
    model = ModelConfig(width=64, activation=name)
    solver = SolverConfig(tol=1e-6)
    wide = run_to_end(model=model, solver=solver)
    narrow = run_to_end(model=model, solver=solver, dtype="float32")
    torch.testing.assert_close(
        narrow.trajectory["loss"], wide.trajectory["loss"], rtol=2e-3, atol=0
    )


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_the_tolerance_is_tightened_as_the_loss_falls(name):
    """A loose tolerance spoils no gradient: at a small loss it is tightened.

    The last losses, 1e-9 of the first, are those of tol 1e-13 within 1 %; a fixed tolerance
    of 1e-4 misses them by a factor.
    """
    model, steps = ModelConfig(width=100, activation=name), TrainConfig(steps=400, eta=0.9)
    loose = run_to_end(model=model, train=steps, solver=SolverConfig(tol=1e-4))
    tight = run_to_end(model=model, train=steps)
    assert float(tight.trajectory["loss"][-1]) < 1e-9 * float(tight.trajectory["loss"][0])
    assert float(loose.trajectory["residual"][:3].amax()) > 1e-6
    torch.testing.assert_close(
        loose.trajectory["loss"][-1], tight.trajectory["loss"][-1], rtol=0.01, atol=0
    )


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_a_float64_finish_gives_the_rate_of_float64(name):
    """Within 1e-4 of float64's rate, where float32 alone stops or misses it."""
    model, steps = ModelConfig(width=100, activation=name), TrainConfig(steps=400, eta=0.9)
    narrow = SolverConfig(tol=1e-6, finish="float64")
    finished = run_to_end(model=model, train=steps, solver=narrow, dtype="float32")
    wide = run_to_end(model=model, train=steps, solver=SolverConfig(tol=1e-6))
    rounding = finished.trajectory["rounding"]
    assert float(rounding[0]) > 1e-8
    assert float(rounding[-1]) < 1e-15
    assert bool((rounding.diff() <= 0).all())
    rates = [outcome.summary["rate/measured"] for outcome in (finished, wide)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-3)


def test_training_forbids_tf32():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        GradientDescent([config()], [DATA])
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu():
    cpu, gpu = train(config()), train(config(), device="cuda")
    torch.testing.assert_close(gpu.trajectory["loss"], cpu.trajectory["loss"], rtol=1e-9, atol=0)
