"""What training sees of a data set, and what every data set is checked for."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deq.data.columns import check_columns


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
    check_columns(x.numpy())
    # By powers of two, which round nothing: squares of what is left neither overflow nor vanish.
    exponent = torch.frexp(x.abs().amax(dim=0)).exponent
    x = torch.from_numpy(np.ldexp(x.numpy(), -exponent.numpy()))
    scaled: Tensor = x / torch.linalg.vector_norm(x, dim=0) * x.shape[0] ** 0.5
    return scaled


def centred(rows: np.ndarray) -> Tensor:
    """Images (n, d) as columns (d, n), float64, the mean image subtracted.

    Pixels are not negative, so raw images lie in a narrow cone about their mean: one
    eigenvalue of the Gram matrix would dwarf the others, and every rate with them.
    """
    x = torch.tensor(rows.T, dtype=torch.float64)
    return x - x.mean(dim=1, keepdim=True)
