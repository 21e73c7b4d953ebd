"""Solve windows of a smooth activation, and move a trial to their ends."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.training.state import State, state_dict
from deq.training.windows.check import FixedPoint
from deq.training.windows.error_recursion import half_step_tangents, moments
from deq.training.windows.low_rank import Network, Terms, apply
from deq.training.windows.nodes import Nodes, States, inner_products
from deq.training.windows.polynomials import lagrange, node_steps
from deq.training.windows.present import Present
from deq.training.windows.window import Accuracy, RejectedError, Window, accuracy_at

# Number of nodes before the present step whose H~ is kept.
HISTORY = 8
# Greatest last change of the nodes at which a rejected window serves as the next guess.
USABLE = 1e-2


@dataclass
class Integrator(Present):
    """Windows of one trial, one after the other, for a smooth activation.

    Attributes:
        guess: states whose polynomial the next window starts from, the present one among them.
        history: (step, H~) of the last nodes before the present step; steps rise, H~ is (n, n).
        degree: degree of the polynomials.
        grams: (n, n) inner products of z and of r at the present step; None until needed.
    """

    guess: States
    history: list[tuple[int, Tensor]]
    degree: int
    grams: tuple[Tensor, Tensor] | None = None

    @classmethod
    def after_steps(
        cls, network: Network, states: States, e: Tensor, degree: int, tol: float
    ) -> "Integrator":
        """Begin at the last of some states that single steps reached.

        Args:
            network: the weights at the last of these states.
            states: at rising GD steps.
            e: (n,) float64, the error at the last of them.
            degree: degree of the polynomials.
            tol: train.integrator_tol.
        """
        nodes = Nodes(states, network.phi, network.work)
        tangents = half_step_tangents(nodes.steps, nodes.zz, nodes.rr, network.xx)
        history = list(zip(nodes.steps, tangents, strict=True))[:-1]
        integrator = cls(network, states, e, states, history, degree)
        q, v = states.q[-1], states.v[-1]
        integrator.move_to(states.steps[-1], q, v, e, accuracy_at(network, states, e, tol, 0.0))
        return integrator

    def window(self, length: int, accuracy: Accuracy) -> Window:
        """Solve a window that begins at the present step. The trial does not move.

        Args:
            length: GD steps of the window.
            accuracy: what the window must meet.

        Raises:
            RejectedError: the window is not right to the tolerance. Its nodes are the next
                guess if they are close.
        """
        steps = node_steps(self.step, length, self.degree)
        states = self.now.and_then(self.guess.at(steps[1:]))
        nodes = Nodes(states, self.network.phi, self.network.work, self._grams())
        try:
            window = Window(self.network, nodes, self.e, self._older(length), accuracy)
            window.solve(self.guess)
        except RejectedError:
            if max(nodes.changes) < USABLE:
                self.guess = nodes.states
            raise
        return window

    def accept(self, window: Window) -> FixedPoint:
        """Move the trial to the window's end; return the fixed point there."""
        nodes, accuracy = window.nodes, window.accuracy
        apply(self.network, window.terms([len(window.e) - 1]))
        self.guess = nodes.states
        passed = zip(nodes.steps[:-1], window.tangents[:-1], strict=True)
        self.history = [*self.history, *passed][-HISTORY:]
        return self.move_to(nodes.steps[-1], nodes.q[-1], nodes.v[-1], window.e[-1], accuracy)

    def move_to(self, step: int, q: Tensor, v: Tensor, e: Tensor, accuracy: Accuracy) -> FixedPoint:
        """Solve for the state at a new present step, and forget the old inner products."""
        self.grams = None
        return super().move_to(step, q, v, e, accuracy)

    def _grams(self) -> tuple[Tensor, Tensor]:
        if self.grams is None:
            q, v, network = self.now.q, self.now.v, self.network
            z = network.phi.function(q)
            r = network.phi.derivative_at(q, z) * v
            zz, rr = (inner_products(x[0], x, network.work)[0] for x in (z, r))
            self.grams = zz, rr
        return self.grams

    def _older(self, length: int) -> tuple[int, Tensor] | None:
        return older(self.history, self.step, length / (2 * self.degree))

    def terms_back(self, path: Tensor, step: int) -> Terms:
        """Return the low-rank terms from a step inside the last window to its end.

        Args:
            path: (h + 1, n) e along the window.
            step: a GD step inside it.
        """
        states, phi = self.guess, self.network.phi
        z = phi.function(states.q)
        r = phi.derivative_at(states.q, z) * states.v
        first, last = states.steps[0], states.steps[-1]
        basis = lagrange(states.steps, torch.arange(first, last + 1))
        c, b = moments(basis, path, [step - first, last - first])
        return Terms(z, r, (c[1] - c[0])[None], (b[1] - b[0])[None])

    def state(self) -> State:
        """Return everything but the network."""
        return {
            "now": state_dict(self.now),
            "e": self.e,
            "guess": state_dict(self.guess),
            "history": [{"step": step, "tangent": tangent} for step, tangent in self.history],
        }

    @classmethod
    def restored(cls, network: Network, degree: int, state: State) -> "Integrator":
        """Rebuild an integrator from its state."""
        now, guess = (States(**state[name]) for name in ("now", "guess"))
        history = [(int(pair["step"]), pair["tangent"].cpu()) for pair in state["history"]]
        return cls(network, now, state["e"].cpu(), guess, history, degree)


def older(
    history: list[tuple[int, Tensor]], step: int, distance: float
) -> tuple[int, Tensor] | None:
    """Return a node before a window, with which the interpolation's error is estimated.

    Args:
        history: (step, H~) of nodes, steps rising.
        step: the window's first step.
        distance: steps that the node should lie before it.

    Returns:
        (step, H~) of the last node at least `distance` before `step`, else of the first one
        before it; None without any.
    """
    before = [pair for pair in history if pair[0] < step]
    far = [pair for pair in before if pair[0] <= step - distance]
    return far[-1] if far else before[0] if before else None
