"""A trial's weights W, U, a, with U recovered from P = U X.

Training updates P in place of U. Its steps move U by C X^T, so that with the initial U_0

    U = U_0 + (P - U_0 X) X^+,

X^+ the pseudo-inverse. Then U X = P to rounding, and U = U_0 on the complement of the data.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

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
    change = torch.linalg.pinv(x, rtol=least) @ moved
    u: Tensor = start.double() + change.T
    return u.to(p.dtype)


def _start(config: TrialConfig, dataset: Dataset) -> Tensor:
    """Return the initial U of a trial."""
    if config.model.init == "redraw":
        return starting_weights([config], [dataset], torch.device("cpu"))[1][0]
    return draw_inputs(config.model, config.seed, dataset.x.shape[0], config.torch_dtype)
