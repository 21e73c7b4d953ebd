"""Checks of the columns of a data set; without torch."""

import numpy as np

# Distance of |cosine| from 1 below which columns are parallel: lambda_star would be rounding.
PARALLEL = 1e-10


def check_columns(x: np.ndarray) -> None:
    """Check that inputs x (d, n) have no zero columns and no parallel ones.

    Raises:
        ValueError: a column is zero, or two are parallel: lambda_star would be 0.
    """
    # Scale by powers of two, so that no square overflows or underflows.
    x = np.ldexp(x, -np.frexp(np.abs(x).max(axis=0))[1])
    check_nonzero(x)
    norms = np.linalg.norm(x, axis=0)
    units = x / norms
    cosine = np.triu(np.abs(units.T @ units), 1)
    pairs = [f"{i} and {j}" for i, j in np.argwhere(cosine > 1 - PARALLEL).tolist()]
    if pairs:
        raise ValueError(f"columns of x that are parallel: {_first_five(pairs)}; drop one of each")


def check_nonzero(x: np.ndarray, first: int = 0) -> None:
    """Check that inputs x (d, n) have no zero columns.

    Args:
        x: the inputs.
        first: index of its first column in the data set.

    Raises:
        ValueError: a column is zero.
    """
    zero = (first + np.flatnonzero(np.abs(x).max(axis=0, initial=0.0) == 0)).tolist()
    if zero:
        raise ValueError(f"columns of x that are zero: {_first_five(zero)}; drop these samples")


def _first_five(items: list[int] | list[str]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return shown if len(items) <= 5 else f"{shown} and {len(items) - 5} more"
