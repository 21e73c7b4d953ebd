"""An activation phi with the constants that the theory needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.duals import Dual

# Units of rounding to which a user's closed-form dual is checked, and then trusted.
DUAL_UNITS = 64
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Activation:
    """An activation phi, applied entrywise, and the properties that the theorems assume.

    Source: docs/theory.md, section 7.

    Attributes:
        name: its name in configurations.
        function: phi.
        derivative: phi'; at a kink, the value from the left.
        lipschitz: L = sup |phi'|.
        curvature: M = sup |phi''|; infinite for a kinked phi (Ling et al. only).
        at_zero: phi(0).
        smooth: whether phi is analytic on the real line, so that its Hermite
            coefficients decay faster than any power. The infinite-width limit needs it not:
            a finite `curvature` or a `dual` is enough.
        polynomial: whether phi is a polynomial, so that lambda_star may be zero.
        dual: closed form of (E[phi(u) phi(v)], E[phi'(u) phi'(v)]) for centred Gaussians
            of variance q and covariance c, accurate to a few units of float64's rounding;
            None if no closed form is known.
        derivative_of_value: phi' as a function of phi(x), where phi(x) is expensive and
            determines phi' (tanh: 1 - phi^2); None if there is none.
        bounded: sup |phi|; infinite for an unbounded phi. The later versions of Truong's
            paper assume that it is finite; where it is, the theorem's conditions are weaker.
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
    derivative_of_value: Callable[[Tensor], Tensor] | None = None
    bounded: float = math.inf

    def derivative_at(self, x: Tensor, value: Tensor) -> Tensor:
        """Return phi'(x), given x and value = phi(x)."""
        if self.derivative_of_value is None:
            return self.derivative(x)
        return self.derivative_of_value(value)


def rounding(phi: Activation, q: float, energy: float, energy_dot: float) -> tuple[float, float]:
    """Return one unit of rounding of E[phi(u) phi(v)] and of E[phi'(u) phi'(v)].

    eps (E + q E_dot) bounds the magnitudes of the terms of the first one's series, since
    Horner's rule adds r units to the term of degree r and sum_r r mu_r^2 = q E[phi'^2].

    Args:
        phi: the activation.
        q: variance of u and of v.
        energy: E = E[phi(u)^2].
        energy_dot: E_dot = E[phi'(u)^2].
    """
    bend = phi.curvature**2 if math.isfinite(phi.curvature) else 0.0
    return _EPS * (energy + q * energy_dot), _EPS * (phi.lipschitz**2 + q * bend)
