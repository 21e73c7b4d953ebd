"""Factors of the step size, one for each block of weights; docs/theory.md, section 15."""

import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

# A factor that is a number divided by the width m or the input size d.
_QUOTIENT = re.compile(r"(?P<number>[^/]+)/(?P<size>[md])")


class BlockSteps(NamedTuple):
    """Factors of the step size of W, U and a: theta_b(t+1) = theta_b(t) - eta f_b grad_b Phi.

    Attributes:
        w, u, a: f_w, f_u and f_a.
        bias: what a factor of the biases' own adds to every entry of f_u X^T X: their factor less
            f_u, times the square of the input that they belong to.
    """

    w: float = 1.0
    u: float = 1.0
    a: float = 1.0
    bias: float = 0.0

    def inputs(self, xx: "Tensor") -> "Tensor":
        """Return X^T F X, F the factor of each row of X; `xx` is X^T X."""
        return xx if (self.u, self.bias) == (1.0, 0.0) else self.u * xx + self.bias


# Gradient descent with one step size.
ONE_STEP = BlockSteps()


def checked_factor(name: str, factor: float | str) -> float | str:
    """Return a factor in its one form: a float, or text such as 1/m, 2/d or 0.5/m.

    Raises:
        ValueError: it is neither, or not finite, or negative.
    """
    number, size = _parts(factor)
    if number is None or not 0 <= number < math.inf:
        raise ValueError(
            f"{name} must be a finite number of at least 0, alone or over m or d as in 1/m, "
            f"not {factor}"
        )
    return f"{repr(number).removesuffix('.0')}/{size}" if size else number


def value_of(factor: float | str, m: int, d: int) -> float:
    """Return a checked factor as a number, at width m and input size d."""
    number, size = _parts(factor)
    assert number is not None
    return number / {"": 1, "m": m, "d": d}[size]


def _parts(factor: float | str) -> tuple[float | None, str]:
    """Return the number and what it is divided by: m, d or nothing; None if it is no number."""
    if not isinstance(factor, str):
        return float(factor), ""
    match = _QUOTIENT.fullmatch(factor.replace(" ", ""))
    try:
        return (float(match["number"]), match["size"]) if match else (None, "")
    except ValueError:
        return None, ""
