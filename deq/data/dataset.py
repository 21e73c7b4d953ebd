"""What training sees of a data set, and what every data set is checked for."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Columns whose |cosine| is this close to 1 are parallel: lambda_star would be rounding.
PARALLEL = 1e-10


@dataclass(frozen=True)
class Dataset:
    """Inputs x (d, n), columns of norm sqrt(d), and targets y (n,), both float64."""

    x: Tensor
    y: Tensor


def normalised(x: Tensor) -> Tensor:
    """Columns scaled to norm sqrt(d).

    Raises:
        ValueError: a column is zero, or two are parallel: lambda_star would be 0.
    """
    norms = torch.linalg.vector_norm(x, dim=0)
    zero = (norms == 0).nonzero().flatten().tolist()
    if zero:
        raise ValueError(f"columns of x that are zero: {_some(zero)}")
    x = x / norms * x.shape[0] ** 0.5
    cosine = (x.mT @ x / x.shape[0]).abs().triu(diagonal=1)
    parallel = (cosine > 1 - PARALLEL).nonzero().tolist()
    if parallel:
        pairs = [f"{i} and {j}" for i, j in parallel]
        raise ValueError(f"columns of x that are parallel: {_some(pairs)}")
    return x


def _some(items: list[int] | list[str]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return shown if len(items) <= 5 else f"{shown} and {len(items) - 5} more"
