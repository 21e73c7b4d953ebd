"""An activation phi with the constants that the theory needs of it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from deq.activations.duals import Dual


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
            Gaussians of variance q and covariance c, where one is known; a relative
            error of some units of float64's rounding is presumed of it.
        derivative_of_value: phi' as a function of phi's value, for a phi whose value is
            dear and decides its derivative (tanh: 1 - phi^2).
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

    def derivative_at(self, x: Tensor, value: Tensor) -> Tensor:
        """phi'(x), where value = phi(x) is known."""
        if self.derivative_of_value is None:
            return self.derivative(x)
        return self.derivative_of_value(value)
