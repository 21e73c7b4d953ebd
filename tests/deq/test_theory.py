"""Operator norms and Gram matrices compared with closed forms."""

import pytest
import torch

from deq.config import ModelConfig
from deq.data import SphereConfig, load
from deq.linalg.operator_norm import operator_norm


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


def test_gram_error_falls_with_width():
    from deq.config import TrainConfig, TrialConfig
    from deq.training.comparison import train

    data = load(SphereConfig(n=8, d=8))

    def error(width):
        config = TrialConfig(model=ModelConfig(width=width), train=TrainConfig(steps=1))
        return train(config, data).summary["theory/gram_error"]

    assert error(1600) < 0.5 * error(100)
