"""A trial's weights W, U, a as training leaves them.

Training keeps P = U X in place of U. Its steps move U by C X^T, so that with the U_0 it
started from

    U = U_0 + (P - U_0 X) X^+,

X^+ the pseudo-inverse: U X = P to rounding, and what the data do not see of U is U_0's.
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
    """U (m, d) of a trial whose P = U X, as rows, is p (n, m); in p's dtype."""
    x = dataset.x.T  # (n, d): samples are rows, as in p
    start = _start(config, dataset)
    moved = p.double().cpu() - (x.to(start.dtype) @ start.T).double()
    # Directions of X that the training's dtype does not resolve are not divided by.
    least = max(x.shape) * torch.finfo(start.dtype).eps
    change = torch.linalg.pinv(x, rtol=least) @ moved
    u: Tensor = start.double() + change.T
    return u.to(p.dtype)


def _start(config: TrialConfig, dataset: Dataset) -> Tensor:
    """The U that the trial started from."""
    if config.model.init == "redraw":
        _, u, _ = starting_weights([config], [dataset], torch.device("cpu"))
        found: Tensor = u[0]
        return found
    return draw_inputs(config.model, config.seed, dataset.x.shape[0], config.torch_dtype)
