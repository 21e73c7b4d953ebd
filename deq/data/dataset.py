"""What training sees of a data set, and what every data set is checked for."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Columns whose |cosine| is this close to 1 are parallel: lambda_star would be rounding.
PARALLEL = 1e-10


@dataclass(frozen=True)
class Dataset:
    """Inputs x (d, n), columns of norm sqrt(d), and targets y (n,), both float64."""

    x: Tensor
    y: Tensor


def check_n(n: int) -> None:
    """Refuse an empty data set.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")


def normalised(x: Tensor) -> Tensor:
    """Columns scaled to norm sqrt(d).

    Raises:
        ValueError: a column is zero, or two are parallel: lambda_star would be 0.
    """
    # By powers of two, which round nothing: squares of what is left neither overflow nor vanish.
    exponent = torch.frexp(x.abs().amax(dim=0)).exponent
    x = torch.from_numpy(np.ldexp(x.numpy(), -exponent.numpy()))
    norms = torch.linalg.vector_norm(x, dim=0)
    zero = (norms == 0).nonzero().flatten().tolist()
    if zero:
        raise ValueError(f"columns of x that are zero: {_some(zero)}; drop these samples")
    x = x / norms * x.shape[0] ** 0.5
    cosine = (x.mT @ x / x.shape[0]).abs().triu(diagonal=1)
    parallel = (cosine > 1 - PARALLEL).nonzero().tolist()
    if parallel:
        pairs = [f"{i} and {j}" for i, j in parallel]
        raise ValueError(f"columns of x that are parallel: {_some(pairs)}; drop one of each")
    return x


def _some(items: list[int] | list[str]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return shown if len(items) <= 5 else f"{shown} and {len(items) - 5} more"
