"""State of a trial between two windows."""

from dataclasses import dataclass

from torch import Tensor

from deq.training.windows.check import SHARE, FixedPoint, solve_at
from deq.training.windows.low_rank import Network, no_terms
from deq.training.windows.nodes import States
from deq.training.windows.window import Accuracy, accuracy_at


@dataclass
class Present:
    """State of a trial at the present step.

    Attributes:
        network: the weights at the present step; updated in place.
        now: pre-activations and adjoints at the present step, L = 1.
        e: (n,) float64, the error at the present step.
    """

    network: Network
    now: States
    e: Tensor

    @property
    def step(self) -> int:
        """The present GD step."""
        return self.now.steps[0]

    def accuracy(self, tol: float, most: float) -> Accuracy:
        """Return the accuracy that the next window can meet; see `accuracy_at`."""
        return accuracy_at(self.network, self.now, self.e, tol, most)

    def move_to(self, step: int, q: Tensor, v: Tensor, e: Tensor, accuracy: Accuracy) -> FixedPoint:
        """Solve for the state at a new present step, whose weights the network has already.

        Args:
            step: the new present step.
            q: (n, m) pre-activations to begin with.
            v: (n, m) adjoints to begin with.
            e: (n,) float64, the followed error; it is kept if rounding is a large part of it.
            accuracy: tolerance of e.
        """
        solution = solve_at(self.network, no_terms(self.network), q, v, accuracy)
        followed = accuracy.floor > SHARE * accuracy.tol * float(e.norm())
        self.now = States([step], solution.q[None], solution.v[None])
        self.e = e.clone() if followed else solution.e
        return solution
