"""Configuration of the solver of equilibria and adjoints."""

from dataclasses import dataclass, field
from typing import Literal

SolverName = Literal["picard", "anderson", "broyden", "newton_krylov"]
Finish = Literal["none", "float64"]
Precision = Literal["full", "mixed"]


@dataclass(frozen=True)
class SolverConfig:
    """Solver of equilibria and adjoints.

    Attributes:
        name: solver of equilibria and adjoints. picard: the plain iteration, asymptotically
            optimal where it converges, since the eigenvalues of D_i W fill a disc; anderson,
            broyden: acceleration by earlier iterates; newton_krylov: for equilibria where Picard
            does not converge (||W||_2 L >= 1).
        tol: tolerance of the relative residual ||f(x) - x||_2 / ||f(x)||_2 of every sample, before
            the last map; x is the pre-activation W Z + U X of an equilibrium, or an adjoint.
            As the loss falls the tolerance is tightened, so that errors in the equilibria stay a
            thousandth of rms(yhat - y), down to what the dtype resolves.
        max_steps: most maps of one sample when an equilibrium or an adjoint is solved.
        finish: precision of the end of a float32 trial. float64: the trial continues in float64
            when float32 no longer resolves yhat - y, so that a rate can be fitted; none: the
            trial stays in float32.
        precision: precision of the solver's products. full: every product in the trial's dtype;
            mixed: one product in the trial's dtype for each fixed point, at the predicted start,
            and TF32 products of the increments, whose error counts as residual (see
            deq/solvers/mixed.py). mixed needs dtype=float32 and solver.name=picard; with
            solver.finish=float64 the end is in full precision. A CPU emulates TF32 without saving
            time.
    """

    name: SolverName = "picard"
    tol: float = 1e-8
    max_steps: int = 500
    finish: Finish = field(default="none", metadata={"absent_at": "none"})
    precision: Precision = field(default="full", metadata={"absent_at": "full"})

    def __post_init__(self) -> None:
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1), not {self.tol}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {self.max_steps}")
        if self.precision == "mixed" and self.name != "picard":
            raise ValueError(
                f"precision=mixed works with name=picard only, not {self.name}: set precision=full"
            )
