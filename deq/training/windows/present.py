"""The state of a trial between two windows."""

from dataclasses import dataclass

from torch import Tensor

from deq.training.windows.check import SHARE, FixedPoint, solve_at
from deq.training.windows.low_rank import Network, no_terms
from deq.training.windows.nodes import States
from deq.training.windows.window import Accuracy, accuracy_at


@dataclass
class Present:
    """A trial at the GD step that its weights are at.

    Attributes:
        network: its weights at the present step; moved in place.
        now: the present state alone; e: (n,) float64 there.
    """

    network: Network
    now: States
    e: Tensor

    @property
    def step(self) -> int:
        """The present GD step."""
        return self.now.steps[0]

    def accuracy(self, tol: float, most: float) -> Accuracy:
        """Return the accuracy that the next window can be asked for; see `Accuracy`."""
        return accuracy_at(self.network, self.now, self.e, tol, most)

    def settle(self, step: int, q: Tensor, v: Tensor, e: Tensor, accuracy: Accuracy) -> FixedPoint:
        """Solve for the present state from q and v, (n, m), until its e is resolved.

        Where rounding is a large part of it, e (n,) stays as it was followed.
        """
        solution = solve_at(self.network, no_terms(self.network), q, v, accuracy)
        followed = accuracy.floor > SHARE * accuracy.tol * float(e.norm())
        self.now = States([step], solution.q[None], solution.v[None])
        self.e = e.clone() if followed else solution.e
        return solution
