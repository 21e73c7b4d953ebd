"""A trial's weights W, U, a, with U recovered from P = U X.

Training updates P in place of U. Its steps move U by C X^T, so that with the initial U_0

    U = U_0 + (P - U_0 X) X^+,

X^+ the pseudo-inverse. Then U X = P to rounding, and U = U_0 on the complement of the data. Where
the biases have a step size of their own, U moves by C X^T F with a diagonal F, and X^+ is replaced
by (F^(1/2) X)^+ F^(1/2).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.block_steps import value_of
from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.models.equilibrium import draw_inputs
from deq.theory.rejection_sampling import starting_weights


@dataclass(frozen=True)
class Weights:
    """W (m, m), U (m, d), a (m,) of one trial, of one dtype, on the CPU."""

    w: Tensor
    u: Tensor
    a: Tensor


def input_weights(config: TrialConfig, dataset: Dataset, p: Tensor) -> Tensor:
    """Return U (m, d), in p's dtype, of a trial whose P = U X is p (n, m), samples as rows."""
    x = dataset.x.T  # (n, d): samples are rows, as in p
    start = _start(config, dataset)
    moved = p.double().cpu() - (x.to(start.dtype) @ start.T).double()
    # Smaller singular values of X are not inverted: the training's dtype does not resolve them.
    least = max(x.shape) * torch.finfo(start.dtype).eps
    change = inverse_of(config, x, least) @ moved
    u: Tensor = start.double() + change.T
    return u.to(p.dtype)


def inverse_of(config: TrialConfig, x: Tensor, rtol: float) -> Tensor:
    """Return (d, n), which P - U_0 X, samples as rows, is multiplied with from the left.

    Args:
        config: the trial.
        x: (n, d) inputs, samples as rows.
        rtol: share of the greatest singular value up to which none is inverted.
    """
    roots = root_factors(config, x.shape[1])
    inverse: Tensor = roots[:, None] * torch.linalg.pinv(x * roots, rtol=rtol)
    return inverse


def root_factors(config: TrialConfig, d: int) -> Tensor:
    """Return the roots of the factors of the step size of U's columns, (d,) float64.

    All are 1 where they are equal; the last is that of the biases.
    """
    roots = torch.ones(d, dtype=torch.float64)
    train, m = config.train, config.model.width
    if train.factor_bias is not None:
        roots[:-1] = math.sqrt(value_of(train.factor_u, m, d - 1))
        roots[-1] = math.sqrt(value_of(train.factor_bias, m, d - 1))
    return roots


def _start(config: TrialConfig, dataset: Dataset) -> Tensor:
    """Return the initial U of a trial."""
    if config.model.init == "redraw":
        return starting_weights([config], [dataset], torch.device("cpu"))[1][0]
    return draw_inputs(config.model, config.seed, dataset.x.shape[0], config.torch_dtype)
