"""An activation phi with the constants that the theory needs."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from deq.activations.duals import Dual


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
            coefficients decay faster than any power.
        polynomial: whether phi is a polynomial, so that lambda_star may be zero.
        dual: closed form of (E[phi(u) phi(v)], E[phi'(u) phi'(v)]) for centred Gaussians
            of variance q and covariance c, accurate to a few units of float64's rounding;
            None if no closed form is known.
        derivative_of_value: phi' as a function of phi(x), where phi(x) is expensive and
            determines phi' (tanh: 1 - phi^2); None if there is none.
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
        """Return phi'(x), given x and value = phi(x)."""
        if self.derivative_of_value is None:
            return self.derivative(x)
        return self.derivative_of_value(value)
