"""Dual activations in closed form: (E[phi(u) phi(v)], E[phi'(u) phi'(v)]).

u and v are centred Gaussians, both of variance q and of covariance c (any shape). The
second is the derivative of the first by c (Daniely, Frostig and Singer 2016).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Dual = Callable[[float, Tensor], tuple[Tensor, Tensor]]


def identity(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """E[u v] = c."""
    del q
    return c.clone(), torch.ones_like(c)


def relu(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """Arc-cosine kernels of degree 1 and 0 (Cho and Saul 2009)."""
    rho = (c / q).clamp(-1.0, 1.0)
    angle = torch.pi - torch.arccos(rho)
    gram = q / (2 * torch.pi) * (torch.sqrt((1 - rho) * (1 + rho)) + angle * rho)
    return gram, angle / (2 * torch.pi)


def leaky_relu(slope: float) -> Dual:
    """Return the dual of phi(x) = slope x + (1 - slope) relu(x), from E[u relu(v)] = c / 2."""

    def dual(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
        gram, gram_dot = relu(q, c)
        return slope * c + (1 - slope) ** 2 * gram, slope + (1 - slope) ** 2 * gram_dot

    return dual


def erf(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """2/pi arcsin(2c / (1 + 2q)) (Williams 1997)."""
    gram = 2 / torch.pi * torch.arcsin(2 * c / (1 + 2 * q))
    return gram, 4 / torch.pi / torch.sqrt(_discriminant(1 + 2 * q, 2 * c))


def sin(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-q) sinh c, from the characteristic functions of u - v and u + v."""
    return math.exp(-q) * torch.sinh(c), math.exp(-q) * torch.cosh(c)


def cos(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-q) cosh c."""
    return math.exp(-q) * torch.cosh(c), math.exp(-q) * torch.sinh(c)


def gaussian(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """((1 + 2q)^2 - 4c^2)^(-1/2), one Gaussian integral (Williams 1997)."""
    discriminant = _discriminant(1 + 2 * q, 2 * c)
    return discriminant**-0.5, 4 * c * discriminant**-1.5


def gelu(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """Dual of phi(x) = x Phi(x), Phi the normal distribution function and Phi' its density.

    With F = E[Phi(u) Phi(v)] = 1/4 + arcsin(c / (1 + q)) / (2 pi) and
    P = E[Phi'(u) Phi'(v)] = ((1 + q)^2 - c^2)^(-1/2) / (2 pi), Stein's lemma applied to
    u, then to v, gives E[u Phi'(u) Phi(v)] = c P / (1 + q) and

        E[phi(u) phi(v)] = c F + P (q^2 + c^2 (1 - q) / (1 + q)),
        E[phi'(u) phi'(v)] = F + 2 c P / (1 + q) + c P / ((1 + q)^2 - c^2).

    Source: Tsuchida, Pearce, van der Heide, Roosta and Gallagher 2021, "Avoiding kernel
    fixed points: computing with ELU and GELU infinite networks".
    """
    discriminant = _discriminant(1 + q, c)
    f = 0.25 + torch.arcsin(c / (1 + q)) / (2 * torch.pi)
    p = discriminant**-0.5 / (2 * torch.pi)
    gram = c * f + p * (q * q + c * c * (1 - q) / (1 + q))
    return gram, f + c * p * (2 / (1 + q) + 1 / discriminant)


def _discriminant(a: float, b: Tensor) -> Tensor:
    """Return a^2 - b^2 without cancellation in the squares."""
    return (a - b) * (a + b)
