"""The solvers: what each contributes is its step; the loop is in fixed_point."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deq.fixed_point import Step
from deq.solvers.picard import Picard

Name = Literal["picard"]
SOLVERS: dict[str, Callable[[], Step]] = {"picard": Picard}


@dataclass(frozen=True)
class SolverConfig:
    """How equilibria and adjoints are solved.

    Attributes:
        name: picard, the plain iteration; asymptotically optimal here, since the
            eigenvalues of D_i W fill a disc.
        tol: relative residual ||f(x) - x||_2 / ||f(x)||_2 of every sample, before the
            last map; x is the pre-activation W Z + U X of an equilibrium, or an adjoint.
        max_steps: the most maps for one sample.
    """

    name: Name = "picard"
    tol: float = 1e-8
    max_steps: int = 500

    def __post_init__(self) -> None:
        """Refuse a tolerance outside (0, 1) and an empty budget."""
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1), not {self.tol}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {self.max_steps}")
