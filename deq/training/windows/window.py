"""One window: iterate its nodes until they agree with the weights that they imply.

A Picard map at every node with the weights of the window's terms of low rank; e along the
window by the recursion, with the measured e at the nodes put in by Newton's step. Nodes that
met their tolerance are left out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.training.windows.error_recursion import (
    half_step_tangents,
    interpolation_error,
    moments,
    recursion,
)
from deq.training.windows.low_rank import (
    Network,
    Terms,
    adjoints,
    measured_error,
    output_weights,
    preactivations,
)
from deq.training.windows.nodes import Nodes, States, rounding_floor
from deq.training.windows.polynomials import lagrange

# The most maps of a window's nodes, and the most measurements once they have met their goal.
MOST_MAPS, MOST_POLISH = 40, 3
# Of tol: what interpolation and what measured errors may leave, and how far Q and V are solved.
INTERPOLATION, LEFT, CHANGE = 0.5, 0.3, 3.0
# Multiples of the rounding floor below which no error of e is told from rounding.
ROUNDED = 3


# Slopes of a state, given q and phi(q).
Slopes = Callable[[Tensor, Tensor], Tensor]


class RejectedError(Exception):
    """A window is not taken. `error` is that of its e, where it is known, else infinite."""

    def __init__(self, error: float) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Accuracy:
    """What is asked of a window.

    Attributes:
        tol: the error of e(s) relative to ||e(s)||, at every step.
        floor: ||e|| that rounding makes up.
        most: products, thin ones at n / m, that may be spent on the window.
    """

    tol: float
    floor: float
    most: float


class Window:
    """A window that is being solved for.

    Attributes:
        nodes: its nodes.
        basis: (h + 1, L) Lagrange's basis at its steps.
        e: (h + 1, n) float64.
        error: of e, relative, left by interpolation.
    """

    def __init__(
        self,
        network: Network,
        nodes: Nodes,
        start: Tensor,
        older: tuple[int, Tensor] | None,
        accuracy: Accuracy,
    ) -> None:
        """Begin with e = start (n,) at the first node, H~ at a node before it in `older`."""
        self.network, self.nodes, self.older, self.accuracy = network, nodes, older, accuracy
        first, last = nodes.steps[0], nodes.steps[-1]
        self.basis = lagrange(nodes.steps, torch.arange(first, last + 1))
        self._start, self._begun = start, network.total()
        self._forcing = start.new_zeros(len(nodes.steps), len(start))
        self._measured: dict[int, Tensor] = {}
        self._noise = accuracy.floor
        self.error = math.inf
        self._trace()

    def solve(self, guess: States) -> None:
        """Iterate until e is right to the tolerance.

        Raises:
            RejectedError: it is not, or costs too much.
        """
        self._near_half(guess)
        self._converge()
        self._polish()

    def terms(self, ends: list[int]) -> Terms:
        """The terms of low rank at these steps, counted from the window's start."""
        return self.nodes.terms(*moments(self.basis, self.e, ends))

    def state(self, place: int) -> tuple[Tensor, Tensor]:
        """Q and v, (n, m), at a step counted from the window's start."""
        states = self.nodes.states.at([self.nodes.steps[0] + place])
        return states.q[0], states.v[0]

    def slopes(self, place: int) -> Slopes:
        """The slopes at a step counted from the window's start, given q and phi(q)."""
        return self.network.phi.derivative_at

    def grams(self, places: list[int]) -> tuple[Tensor, Tensor]:
        """Inner products of z and of r, (T, n, n), at steps counted from the window's start."""
        basis, nodes = self.basis[places], self.nodes
        pairs = (basis[:, :, None] * basis[:, None, :]).flatten(1)
        g, b = (
            (pairs @ x.flatten(0, 1).flatten(1)).view(-1, *x.shape[2:])
            for x in (nodes.zz, nodes.rr)
        )
        return g, b

    def _place(self, node: int) -> int:
        return self.nodes.steps[node] - self.nodes.steps[0]

    def _trace(self) -> None:
        """E along the window from the nodes as they are."""
        nodes, network = self.nodes, self.network
        self.tangents = half_step_tangents(nodes.steps, nodes.zz, nodes.rr, network.xx)
        self.e = recursion(self.basis, self.tangents, network.eta, self._start, self._forcing)
        if not float(self.e[-1].norm()) < 1e3 * float(self._start.norm()):
            raise RejectedError(math.inf)

    def _map(self, active: list[int]) -> list[int]:
        """One map of the active nodes; e is measured there. The nodes again."""
        network, nodes = self.network, self.nodes
        cost = map_cost(len(active), len(nodes.steps), *network.p.shape)
        if network.total() - self._begun + cost > self.accuracy.most:
            raise RejectedError(math.inf)
        terms = self.terms([self._place(k) for k in active])
        a = output_weights(network, terms)
        q = preactivations(network, terms, nodes.z[active], nodes.zz[:, active])
        errors = measured_error(network, nodes.z[active], nodes.r[active], q - nodes.q[active], a)
        self._measured |= dict(zip(active, errors, strict=True))
        slope = nodes.phi.derivative(q)
        v = adjoints(network, terms, slope * nodes.v[active], nodes.rr[:, active], a)
        nodes.replace(active, q, v)
        if not all(nodes.changes[k] < 1e2 for k in active):  # true for NaN as well
            raise RejectedError(math.inf)
        return active

    def _near_half(self, guess: States) -> None:
        """Map the near half of the nodes once, and start the far half from there."""
        nodes, degree = self.nodes, len(self.nodes.steps) - 1
        if degree <= 2 or guess.steps[-1] >= nodes.steps[-1]:
            return
        half = degree // 2
        self._map(list(range(1, half + 1)))
        near = States(nodes.steps[: half + 1], nodes.q[: half + 1], nodes.v[: half + 1])
        source = guess.before(nodes.steps[0], 3).and_then(near)
        nodes.predict(list(range(half + 1, degree + 1)), source)
        for k in range(half + 1, degree + 1):
            nodes.q_change[k] = math.inf
        self._trace()

    def _converge(self) -> None:
        """Map the nodes until their changes meet their goal."""
        tol, nodes = self.accuracy.tol, self.nodes
        goal, before = CHANGE * tol, math.inf
        for k in range(MOST_MAPS):
            active = [i for i, change in enumerate(nodes.changes) if change > goal]
            if not active:
                return
            self._map(active)
            change = max(nodes.changes)
            if k > 3 and change > 0.8 * before and change > 10 * goal:
                raise RejectedError(math.inf)
            before, goal = change, self._goal()
            if change <= goal:
                return
            if k > 0 and change < 1e-3:
                error = self._interpolation_error()
                if not error <= max(4 * tol, 1.5 * change):
                    raise RejectedError(error)
            self._noise = self.accuracy.floor + self.nodes.second_order(active)
            if change < 1e-2:
                self._correct(active)
            self._trace()
        raise RejectedError(math.inf)

    def _polish(self) -> None:
        """Measure again where what is left matters, until it does not."""
        tol, nodes = self.accuracy.tol, self.nodes
        every = list(range(1, len(nodes.steps)))
        for _ in range(MOST_POLISH):
            self._noise = self.accuracy.floor + self.nodes.second_order(every)
            self._correct(list(self._measured))
            self._trace()
            left = max(self._left(k) for k in self._measured)
            self.error = self._interpolation_error()
            if not self.error <= INTERPOLATION * tol:
                raise RejectedError(self.error)
            if left < max(LEFT * tol, 3 * self._noise / float(self.e[-1].norm())):
                return
            self._map(every)
            self._trace()
        raise RejectedError(self.error)

    def _goal(self) -> float:
        """Changes that are small enough: e is measured right to second order in them."""
        tol, end = self.accuracy.tol, float(self.e[-1].norm())
        scale = max(end, 20 * self.accuracy.floor / tol)
        sizes = float(self.nodes.q[-1].norm()) * float(self.nodes.r[-1].norm())
        return min(CHANGE * tol, math.sqrt(tol * scale * math.sqrt(self.e.shape[1]) / sizes))

    def _left(self, node: int) -> float:
        """Measured e less that of the recursion, relative."""
        e = self.e[self._place(node)]
        return float((self._measured[node] - e).norm() / e.norm())

    def _correct(self, active: list[int]) -> None:
        """Newton's step of the forcing by what was measured, where that is above noise."""
        least = max(0.02 * self.accuracy.tol, 3 * self._noise / float(self.e[-1].norm()))
        if max(self._left(k) for k in active) > least:
            for k in active:
                self._forcing[k] += self._measured[k] - self.e[self._place(k)]

    def _interpolation_error(self) -> float:
        steps, eta = self.nodes.steps, self.network.eta
        return interpolation_error(steps, self.tangents, self.older, self.e, eta)


def map_cost(active: int, nodes: int, n: int, m: int) -> float:
    """Products of one map of so many of the nodes, thin ones at n / m: the nodes' included."""
    return active * (2 + (2 * nodes + (2 * nodes - active + 1)) * n / m)


def window_cost(tol: float, degree: int, n: int, m: int, *, kinked: bool = False) -> float:
    """About what a window takes: maps of its nodes, one a digit of tol, and the move to its end."""
    maps = max(-math.log10(tol) - 1, 3.0) + (3.0 if kinked else 0.0)
    return maps * map_cost(degree, degree + 1, n, m) + degree + 5


def accuracy_at(network: Network, states: States, e: Tensor, tol: float, most: float) -> Accuracy:
    """What can be asked of a window from the last of these states on, where e (n,) is known."""
    q, v = states.q[-1], states.v[-1]
    floor = rounding_floor(network, q, network.phi.derivative(q) * v)
    size = max(float(e.norm()), torch.finfo(torch.float64).tiny)
    return Accuracy(max(tol, ROUNDED * floor / size), floor, most)
