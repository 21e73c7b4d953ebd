"""Heavy ball on a quadratic loss, mode by mode, in closed form; docs/theory.md, section 11.

theta(t+1) = theta(t) - eta grad Phi(theta(t)) + beta (theta(t) - theta(t-1)), theta(-1) = theta(0).
The error in a mode of eigenvalue h obeys c(t+1) = (1 + beta - eta h) c(t) - beta c(t-1). Source:
Polyak 1964.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Angle below which sin(t a) / sin(a) and sinh(t a) / sinh(a) are t, to rounding.
_SMALL = 1e-9


class Optimum(NamedTuple):
    """The step size and the momentum with the greatest rate, for eigenvalues in an interval."""

    eta: float
    momentum: float
    rate: float


def optimum(least: float, greatest: float) -> Optimum | None:
    """Return the best parameters for eigenvalues h in [least, greatest]; None if least <= 0.

    eta = (2 / (sqrt greatest + sqrt least))^2, momentum = ((sqrt k - 1) / (sqrt k + 1))^2 with
    k = greatest / least; the loss then falls by the momentum per step, up to a factor t^2.
    """
    if not 0 < least < greatest:
        return None
    low, high = math.sqrt(least), math.sqrt(greatest)
    beta = ((high - low) / (high + low)) ** 2
    return Optimum((2 / (high + low)) ** 2, beta, -math.log(beta))


def modulus(eta: float, h: float, momentum: float) -> float:
    """Return the factor per step of a mode's error: the greatest root of its recursion."""
    middle = abs(1 + momentum - eta * h) / 2
    if middle * middle <= momentum:
        return math.sqrt(momentum)
    return middle + math.sqrt(middle * middle - momentum)


def log_errors(eta: float, eigenvalues: Tensor, momentum: float, steps: Tensor) -> Tensor:
    """Return log |c_k(t) / c_k(0)|, (T, n), of modes with momentum above 0.

    With x = (1 + beta - eta h) / (2 sqrt beta) and Chebyshev's polynomials,
    c(t) / c(0) = beta^(t/2) (T_t(x) + y U_{t-1}(x)), y = (1 - beta - eta h) / (2 sqrt beta).

    Args:
        eta: the step size.
        eigenvalues: (n,) h_k.
        momentum: beta, in (0, 1).
        steps: (T,) float64, GD steps t.
    """
    root, t = math.sqrt(momentum), steps[:, None]
    x = (1 + momentum - eta * eigenvalues) / (2 * root)
    # T_t(-x) = +-T_t(x), and U_{t-1}(-x) the opposite.
    y = (1 - momentum - eta * eigenvalues) / (2 * root) * torch.where(x < 0, -1.0, 1.0)
    size = x.abs()
    angle = torch.acos(size.clamp_max(1.0))
    ratio = torch.where(angle > _SMALL, torch.sin(t * angle) / torch.sin(angle), t)
    inside = (torch.cos(t * angle) + y * ratio).abs().log()
    angle = torch.acosh(size.clamp_min(1.0))
    decay = torch.exp(-2 * t * angle)
    ratio = torch.where(angle > _SMALL, (1 - decay) / 2 / torch.sinh(angle), t)
    outside = t * angle + ((1 + decay) / 2 + y * ratio).abs().log()
    return t * math.log(root) + torch.where(size <= 1, inside, outside)
