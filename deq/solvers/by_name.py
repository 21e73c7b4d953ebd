"""The solvers by name."""

from deq.solvers.anderson import Anderson
from deq.solvers.broyden import Broyden
from deq.solvers.fixed_point import Step
from deq.solvers.newton_krylov import NewtonKrylov
from deq.solvers.picard import Picard

SOLVERS: dict[str, type[Step]] = {
    "picard": Picard,
    "anderson": Anderson,
    "broyden": Broyden,
    "newton_krylov": NewtonKrylov,
}
