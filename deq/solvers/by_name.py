"""The solvers by name."""

from deq.solvers.anderson import Anderson
from deq.solvers.broyden import Broyden
from deq.solvers.newton_krylov import NewtonKrylov
from deq.solvers.picard import Picard

SOLVERS: dict[str, type[Picard] | type[Anderson] | type[Broyden] | type[NewtonKrylov]] = {
    "picard": Picard,
    "anderson": Anderson,
    "broyden": Broyden,
    "newton_krylov": NewtonKrylov,
}
