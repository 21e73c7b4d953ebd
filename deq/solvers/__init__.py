"""The solvers: what each contributes is its step; the loop is in fixed_point."""

from dataclasses import dataclass, field
from typing import Literal

from deq.solvers.anderson import Anderson
from deq.solvers.broyden import Broyden
from deq.solvers.newton_krylov import NewtonKrylov
from deq.solvers.picard import Picard

Name = Literal["picard", "anderson", "broyden", "newton_krylov"]
Finish = Literal["none", "float64"]
Precision = Literal["full", "mixed"]
SOLVERS: dict[str, type[Picard] | type[Anderson] | type[Broyden] | type[NewtonKrylov]] = {
    "picard": Picard,
    "anderson": Anderson,
    "broyden": Broyden,
    "newton_krylov": NewtonKrylov,
}


@dataclass(frozen=True)
class SolverConfig:
    """How equilibria and adjoints are solved.

    Attributes:
        name: picard, the plain iteration, asymptotically optimal where it converges, since
            the eigenvalues of D_i W fill a disc; anderson and broyden, which learn from
            their iterates; newton_krylov, for equilibria where Picard does not converge
            (||W||_2 L >= 1).
        tol: relative residual ||f(x) - x||_2 / ||f(x)||_2 of every sample, before the
            last map; x is the pre-activation W Z + U X of an equilibrium, or an adjoint.
            As the loss falls it is tightened, so that the equilibria's errors stay a
            thousandth of rms(yhat - y), down to what the dtype resolves.
        max_steps: the most maps for one sample.
        finish: float64: a float32 trial goes on in float64 from where its dtype no longer
            resolves yhat - y (where the tolerance above ends), so that a rate can be
            fitted; none: it stays in float32.
        precision: full: every product in the trial's dtype; mixed: one such product for each
            fixed point, at its predicted start, and TF32 products of the increments, whose
            error counts as residual (see deq.mixed). With float32 and picard only; a float64
            finish is in full precision. On a CPU TF32 is emulated, and no time gained.
    """

    name: Name = "picard"
    tol: float = 1e-8
    max_steps: int = 500
    finish: Finish = field(default="none", metadata={"absent_at": "none"})
    precision: Precision = field(default="full", metadata={"absent_at": "full"})

    def __post_init__(self) -> None:
        """Refuse a tolerance outside (0, 1) and an empty budget."""
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1), not {self.tol}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {self.max_steps}")
        if self.precision == "mixed" and self.name != "picard":
            raise ValueError(
                f"precision=mixed works with name=picard only, not {self.name}: set precision=full"
            )
