"""A data set as training uses it: checked, centred and normalised."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deq.data.columns import check_columns


@dataclass(frozen=True)
class Dataset:
    """Inputs x (d, n), columns of one norm, and targets y (n,), both float64.

    Attributes:
        x, y: inputs and targets.
        test: held-out samples; None without any.
    """

    x: Tensor
    y: Tensor
    test: "Dataset | None" = None


def normalise(x: Tensor, norm: float) -> Tensor:
    """Check the columns of x (d, n) float64 and scale them to norm sqrt(d) times `norm`.

    Raises:
        ValueError: a column is zero, or two are parallel: lambda_star would be 0.
    """
    check_columns(x.numpy())
    return scale(x, norm)


def scale(x: Tensor, norm: float) -> Tensor:
    """Scale the columns of x (d, n) float64, none of them zero, to norm sqrt(d) times `norm`."""
    # First scale by powers of two, which is exact, so that no square overflows or underflows.
    exponent = torch.frexp(x.abs().amax(dim=0)).exponent
    x = torch.from_numpy(np.ldexp(x.numpy(), -exponent.numpy()))
    scaled: Tensor = x / torch.linalg.vector_norm(x, dim=0) * (norm * x.shape[0] ** 0.5)
    return scaled


def with_bias(x: Tensor, bias: float) -> Tensor:
    """Return x (d, n) with one more row, each entry of it `bias`; x itself where that is 0."""
    return torch.cat([x, torch.full_like(x[:1], bias)]) if bias else x


def columns_of(rows: np.ndarray, n: int, *, centred: bool) -> Tensor:
    """Return images (k, d) as columns (d, k), float64; `centred`: less the mean of the first n.

    Pixels are not negative, so raw images lie in a narrow cone about their mean, and one
    eigenvalue of the Gram matrix would be far above all others.
    """
    x = torch.tensor(rows.T, dtype=torch.float64)
    if not centred:
        return x
    return x - x[:, :n].clone().mean(dim=1, keepdim=True)
