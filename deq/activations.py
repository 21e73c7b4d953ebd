"""Activations phi with the constants the theory needs of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Dual = Callable[[float, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Activation:
    """An activation phi, applied entrywise, and what the theorems assume of it.

    Attributes:
        name: how configurations call it.
        function: phi.
        derivative: phi'; at a kink, the value from the left.
        lipschitz: L = sup |phi'|.
        curvature: M = sup |phi''|; infinite for a kinked phi (Ling et al. only).
        at_zero: phi(0).
        smooth: whether phi is analytic on the real line, so that its Hermite
            coefficients decay faster than any power.
        polynomial: whether phi is a polynomial, so that lambda_star may be zero.
        dual: closed form of (E[phi(u) phi(v)], E[phi'(u) phi'(v)]) for centred
            Gaussians of variance q and covariance c, where one is known.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    lipschitz: float
    curvature: float
    at_zero: float
    smooth: bool
    polynomial: bool = False
    dual: Dual | None = None


def _relu_dual(q: float, c: Tensor) -> tuple[Tensor, Tensor]:
    """Arc-cosine kernels of degree 1 and 0 (Cho and Saul 2009)."""
    rho = (c / q).clamp(-1.0, 1.0)
    angle = torch.pi - torch.arccos(rho)
    gram = q / (2 * torch.pi) * (torch.sqrt((1 - rho) * (1 + rho)) + angle * rho)
    return gram, angle / (2 * torch.pi)


def _tanh_derivative(x: Tensor) -> Tensor:
    return 1.0 - torch.tanh(x) ** 2


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation(
            name="relu",
            function=torch.relu,
            derivative=lambda x: (x > 0).to(x.dtype),
            lipschitz=1.0,
            curvature=math.inf,
            at_zero=0.0,
            smooth=False,
            dual=_relu_dual,
        ),
        Activation(
            name="tanh",
            function=torch.tanh,
            derivative=_tanh_derivative,
            lipschitz=1.0,
            curvature=4 / (3 * math.sqrt(3)),
            at_zero=0.0,
            smooth=True,
        ),
    )
}


def activation(name: str) -> Activation:
    """The activation called `name`.

    Raises:
        ValueError: no activation has that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
