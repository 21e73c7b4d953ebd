"""Spectra, fixed points: against closed forms."""

import pytest
import torch

from deq.data import SphereConfig, load
from deq.fixed_point import Solved, solve
from deq.model import ModelConfig
from deq.spectrum import operator_norm


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("batch", "rows", "columns"), [(1, 7, 7), (3, 40, 11), (2, 5, 1), (2, 80, 80)]
)
def test_operator_norm(batch, rows, columns):
    w = torch.randn(
        batch, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    exact = torch.linalg.matrix_norm(w, ord=2)
    torch.testing.assert_close(operator_norm(w), exact, rtol=1e-9, atol=0)


def test_operator_norm_of_a_batch_with_one_of_low_rank():
    generator = torch.Generator().manual_seed(2)
    w = torch.randn(2, 60, 60, dtype=torch.float64, generator=generator)
    w[0] = torch.outer(w[0, 0], w[0, 1])
    exact = torch.linalg.matrix_norm(w, ord=2)
    torch.testing.assert_close(operator_norm(w), exact, rtol=1e-9, atol=0)


def linear_maps(*factors):
    def f(z, live):
        del live
        return tensor(factors)[:, None, None] * z + 1

    return f


def test_fixed_points_stop_by_themselves():
    start = torch.zeros(2, 3, 2, dtype=torch.float64)
    both = solve(linear_maps(0.1, 0.9), start, tol=1e-10, max_steps=1000)
    alone = solve(linear_maps(0.1), start[:1], tol=1e-10, max_steps=1000)
    assert both.solved == [Solved.CONVERGED, Solved.CONVERGED]
    assert both.steps[0] == alone.steps[0] < both.steps[1]
    assert torch.equal(both.value[0], alone.value[0])
    torch.testing.assert_close(both.value[1], torch.full((3, 2), 10.0).double(), rtol=1e-8, atol=0)


def test_fixed_points_that_are_not_reached_say_why():
    start = torch.zeros(1, 3, 2, dtype=torch.float64)
    assert solve(linear_maps(0.99), start, tol=1e-9, max_steps=10).solved == [Solved.MAX_STEPS]
    assert solve(linear_maps(1e80), start, tol=1e-9, max_steps=50).solved == [Solved.NONFINITE]
    flip = torch.tensor([1.0, -1.0])

    def noisy(z, live):
        del live
        return torch.ones_like(z) * (1 + 1e-6 * torch.sign(1 - z[..., :1]))

    found = solve(noisy, flip[None, :, None].float(), tol=1e-9, max_steps=500)
    assert found.solved == [Solved.STAGNATED]


def test_gram_error_falls_with_width():
    from deq.comparison import train
    from deq.trial import TrainConfig, TrialConfig

    data = load(SphereConfig(n=8, d=8))

    def error(width):
        config = TrialConfig(model=ModelConfig(width=width), train=TrainConfig(steps=1))
        return train(config, data).summary["theory/gram_error"]

    assert error(1600) < 0.5 * error(100)
