"""Solve windows of a kinked activation, and move a trial to their ends."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from deq.training.state import State, state_dict
from deq.training.windows.check import FixedPoint
from deq.training.windows.error_recursion import half_step_tangents
from deq.training.windows.integrator import older
from deq.training.windows.kinked_path import KinkedPath
from deq.training.windows.kinked_window import KinkedWindow
from deq.training.windows.low_rank import Network, Terms, apply
from deq.training.windows.monitored import Monitored
from deq.training.windows.nodes import Nodes, States
from deq.training.windows.passage import Passage
from deq.training.windows.polynomials import node_steps
from deq.training.windows.present import Present
from deq.training.windows.window import Accuracy, accuracy_at

# Share of a window after which an entry that slides is monitored in the next one from its start.
LATE = 0.6


@dataclass
class KinkedIntegrator(Present):
    """Windows of one trial, one after the other, for a kinked activation.

    Attributes:
        degree: degree of the polynomials.
        mask: (n, m) slopes at the present step.
        guess: states whose polynomial the next window starts from; v with the present slopes.
        history: (step, H~) of the last nodes before the present step; steps rise, H~ is (n, n).
        grams: (n, n) inner products of z and of r at the present step.
        sliding: (k, 2) sample and unit of entries that changed sign a short time ago.
        passage: the last window; None before the first.
    """

    degree: int
    mask: Tensor
    guess: States
    history: list[tuple[int, Tensor]] = field(default_factory=list)
    grams: tuple[Tensor, Tensor] | None = None
    sliding: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.long))
    passage: Passage | None = None

    @classmethod
    def after_steps(
        cls, network: Network, states: States, e: Tensor, degree: int, tol: float
    ) -> "KinkedIntegrator":
        """Begin at the last of some states that single steps reached.

        Args:
            network: the weights at the last of these states.
            states: at rising GD steps.
            e: (n,) float64, the error at the last of them.
            degree: degree of the polynomials.
            tol: train.integrator_tol.
        """
        masks = network.phi.derivative(states.q)
        integrator = cls(network, states, e, degree, masks[-1], states)
        accuracy = accuracy_at(network, states, e, tol, 0.0)
        here = integrator.move_to(states.steps[-1], states.q[-1], states.v[-1], e, accuracy)
        integrator.sliding = (masks != integrator.mask).any(0).nonzero().cpu()
        monitored = Monitored(network, integrator.mask)
        monitored.add(integrator.sliding[:, 0], integrator.sliding[:, 1])
        jumps = monitored.at((masks - integrator.mask) * states.v)
        integrator._set_guess(states, here, monitored.added(states.v, -jumps, monitored.r))
        return integrator

    def window(self, length: int, accuracy: Accuracy) -> KinkedWindow:
        """Solve a window that begins at the present step. The trial does not move.

        Args:
            length: GD steps of the window.
            accuracy: what the window must meet.

        Raises:
            RejectedError: the window is not right to the tolerance.
        """
        network, steps = self.network, node_steps(self.step, length, self.degree)
        states = self.now.and_then(self.guess.at(steps[1:]))
        nodes = Nodes(states, network.phi, network.work, self.grams, self.mask)
        before = older(self.history, self.step, length / (2 * self.degree))
        window = KinkedWindow(
            network, nodes, Monitored(network, self.mask), self.e, before, accuracy
        )
        window.solve(self.sliding)
        return window

    def accept(self, window: KinkedPath) -> FixedPoint:
        """Move the trial to the window's end; return the fixed point there."""
        nodes, monitored, length = window.nodes, window.monitored, len(window.e) - 1
        apply(self.network, window.terms([length]))
        q, v = window.state(length)
        solution = self.move_to(nodes.steps[-1], q, v, window.e[-1], window.accuracy)
        v0 = monitored.at(nodes.v).double().cpu()
        nu = monitored.nu(monitored.at(self.mask).double().cpu(), v0)
        self._set_guess(nodes.states, solution, monitored.added(nodes.v, nu, monitored.r))
        signs = window.q > 0
        late = (signs[1:] != signs[:-1])[int(LATE * length) :].any(0)
        entries = torch.stack([monitored.sample, monitored.unit], 1)
        self.sliding = entries[(window.flips() > 1) & late]
        self.passage = Passage.of(window)
        return solution

    def move_to(self, step: int, q: Tensor, v: Tensor, e: Tensor, accuracy: Accuracy) -> FixedPoint:
        """Solve for the state at a new present step, and set the mask to its slopes."""
        solution = super().move_to(step, q, v, e, accuracy)
        self.mask = self.network.phi.derivative(solution.q)
        return solution

    def terms_back(self, path: Tensor, step: int) -> Terms:
        """Return the low-rank terms from a step inside the last window to its end.

        Args:
            path: (h + 1, n) e along the window.
            step: a GD step inside it.
        """
        assert self.passage is not None
        return self.passage.terms_back(path, step)

    def _set_guess(self, states: States, here: FixedPoint, v: Tensor) -> None:
        """Set the states that the next window starts from.

        Args:
            states: of the last window's nodes, or of single steps.
            here: the fixed point at the last of them, which replaces it.
            v: (L, n, m) adjoints of the states, with the present slopes.
        """
        network, q = self.network, states.q.clone()
        q[-1], v[-1] = here.q, here.v
        self.guess = States(states.steps, q, v)
        nodes = Nodes(self.guess, network.phi, network.work, mask=self.mask)
        tangents = half_step_tangents(nodes.steps, nodes.zz, nodes.rr, network.xx)
        self.history = list(zip(nodes.steps, tangents, strict=True))[:-1]
        self.grams = nodes.zz[-1, -1].clone(), nodes.rr[-1, -1].clone()

    def state(self) -> State:
        """Return everything but the network."""
        assert self.grams is not None
        return {
            "now": state_dict(self.now),
            "e": self.e,
            "mask": self.mask,
            "guess": state_dict(self.guess),
            "history": [{"step": step, "tangent": tangent} for step, tangent in self.history],
            "grams": {"z": self.grams[0], "r": self.grams[1]},
            "sliding": self.sliding,
            "passage": self.passage and self.passage.state(),
        }

    @classmethod
    def restored(cls, network: Network, degree: int, state: State) -> "KinkedIntegrator":
        """Rebuild an integrator from its state."""
        now, guess = (States(**state[name]) for name in ("now", "guess"))
        history = [(int(pair["step"]), pair["tangent"].cpu()) for pair in state["history"]]
        grams = state["grams"]["z"].cpu(), state["grams"]["r"].cpu()
        passage = state["passage"] and Passage.restored(state["passage"])
        e, sliding = state["e"].cpu(), state["sliding"].cpu()
        return cls(network, now, e, degree, state["mask"], guess, history, grams, sliding, passage)
