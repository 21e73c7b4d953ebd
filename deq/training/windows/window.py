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

# Maps of a window's nodes after which it is rejected.
MOST_MAPS = 40
# Measurements of e, once the nodes meet their goal, after which the window is rejected.
MOST_POLISH = 3
# Error of e that interpolation may leave, in tol.
INTERPOLATION = 0.5
# Difference between measured and followed e that may be left, in tol.
LEFT = 0.3
# Relative change of q and v under a map at which a node counts as solved, in tol.
CHANGE = 3.0
# Errors of e below this multiple of the rounding floor cannot be told from rounding.
ROUNDED = 3

# Function of q and phi(q), (n, m) each, that returns the slopes (n, m).
Slopes = Callable[[Tensor, Tensor], Tensor]


class RejectedError(Exception):
    """A window is not taken.

    Attributes:
        error: relative error of its e; infinite where it is not known.
    """

    def __init__(self, error: float) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Accuracy:
    """Accuracy and cost that a window must meet.

    Attributes:
        tol: greatest error of e(s) relative to ||e(s)||, at every step s.
        floor: part of ||e|| that rounding makes up.
        most: products that the window may cost, thin ones counted n / m.
    """

    tol: float
    floor: float
    most: float


class Window:
    """A window of a smooth activation, while it is solved for and after.

    Attributes:
        nodes: states at the window's nodes.
        basis: (h + 1, L) Lagrange's basis at the window's steps.
        e: (h + 1, n) float64, the error at every step.
        error: relative error of e that interpolation leaves.
    """

    def __init__(
        self,
        network: Network,
        nodes: Nodes,
        start: Tensor,
        older: tuple[int, Tensor] | None,
        accuracy: Accuracy,
    ) -> None:
        """Set up a window that `solve` iterates.

        Args:
            network: the weights at the first node.
            nodes: states to begin with.
            start: (n,) float64, e at the first node.
            older: step and H~ of a node before the window; None where there is none.
            accuracy: what the window must meet.
        """
        self.network, self.nodes, self.older, self.accuracy = network, nodes, older, accuracy
        first, last = nodes.steps[0], nodes.steps[-1]
        self.basis = lagrange(nodes.steps, torch.arange(first, last + 1))
        self._start, self._cost_before = start, network.total()
        self._forcing = start.new_zeros(len(nodes.steps), len(start))
        self._measured: dict[int, Tensor] = {}
        self._noise = accuracy.floor
        self.error = math.inf
        self._trace()

    def solve(self, guess: States) -> None:
        """Iterate until e is right to the tolerance.

        Args:
            guess: states before the window; its far nodes are predicted from them.

        Raises:
            RejectedError: e is not right to the tolerance, or the window costs too much.
        """
        self._near_half(guess)
        self._converge()
        self._polish()

    def terms(self, ends: list[int]) -> Terms:
        """Return the low-rank terms at `ends`, steps counted from the window's start."""
        return self.nodes.terms(*moments(self.basis, self.e, ends))

    def state(self, place: int) -> tuple[Tensor, Tensor]:
        """Return q and v, (n, m) each, at step `place`, counted from the window's start."""
        states = self.nodes.states.at([self.nodes.steps[0] + place])
        return states.q[0], states.v[0]

    def slopes(self, place: int) -> Slopes:
        """Return the function that gives the slopes at step `place`: phi' itself."""
        return self.network.phi.derivative_at

    def grams(self, places: list[int]) -> tuple[Tensor, Tensor]:
        """Return inner products of z and of r, (T, n, n) each.

        Args:
            places: T steps, counted from the window's start.
        """
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
        """Compute e along the window from the present nodes."""
        nodes, network = self.nodes, self.network
        self.tangents = half_step_tangents(nodes.steps, nodes.zz, nodes.rr, network.xx)
        self.e = recursion(self.basis, self.tangents, network.eta, self._start, self._forcing)
        if not float(self.e[-1].norm()) < 1e3 * float(self._start.norm()):
            raise RejectedError(math.inf)

    def _map(self, active: list[int]) -> list[int]:
        """Map the active nodes once, and measure e there; return `active`."""
        network, nodes = self.network, self.nodes
        cost = map_cost(len(active), len(nodes.steps), *network.p.shape)
        if network.total() - self._cost_before + cost > self.accuracy.most:
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
        """Map the near half of the nodes once, and predict the far half from them."""
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
        """Measure e at all nodes and correct it, until the differences left are small."""
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
        """Return the change of nodes that is small enough; measured e is off by its square."""
        tol, end = self.accuracy.tol, float(self.e[-1].norm())
        scale = max(end, 20 * self.accuracy.floor / tol)
        sizes = float(self.nodes.q[-1].norm()) * float(self.nodes.r[-1].norm())
        return min(CHANGE * tol, math.sqrt(tol * scale * math.sqrt(self.e.shape[1]) / sizes))

    def _left(self, node: int) -> float:
        """Return ||measured e - followed e|| / ||followed e|| at a node."""
        e = self.e[self._place(node)]
        return float((self._measured[node] - e).norm() / e.norm())

    def _correct(self, active: list[int]) -> None:
        """Correct the forcing by a Newton step, where measured e differs by more than noise."""
        least = max(0.02 * self.accuracy.tol, 3 * self._noise / float(self.e[-1].norm()))
        if max(self._left(k) for k in active) > least:
            for k in active:
                self._forcing[k] += self._measured[k] - self.e[self._place(k)]

    def _interpolation_error(self) -> float:
        steps, eta = self.nodes.steps, self.network.eta
        return interpolation_error(steps, self.tangents, self.older, self.e, eta)


def map_cost(active: int, nodes: int, n: int, m: int) -> float:
    """Return the products of one map of a window's nodes, thin ones counted n / m.

    Inner products of the nodes are included.

    Args:
        active: number of nodes that are mapped.
        nodes: number of all nodes.
        n: number of samples.
        m: width.
    """
    return active * (2 + (2 * nodes + (2 * nodes - active + 1)) * n / m)


def window_cost(tol: float, degree: int, n: int, m: int, *, kinked: bool = False) -> float:
    """Estimate the products of a window: about one map a digit of tol, and the move to its end.

    Args:
        tol: the window's tolerance.
        degree: degree of the polynomials.
        n: number of samples.
        m: width.
        kinked: whether the activation has a kink.
    """
    maps = max(-math.log10(tol) - 1, 3.0) + (3.0 if kinked else 0.0)
    return maps * map_cost(degree, degree + 1, n, m) + degree + 5


def accuracy_at(network: Network, states: States, e: Tensor, tol: float, most: float) -> Accuracy:
    """Return the accuracy that a window can meet which begins at the last of these states.

    Args:
        network: the weights there.
        states: at rising GD steps.
        e: (n,) float64, the error at the last of them.
        tol: tolerance that is wanted; where rounding is larger, the result's is looser.
        most: products that the window may cost, thin ones counted n / m.
    """
    q, v = states.q[-1], states.v[-1]
    floor = rounding_floor(network, q, network.phi.derivative(q) * v)
    size = max(float(e.norm()), torch.finfo(torch.float64).tiny)
    return Accuracy(max(tol, ROUNDED * floor / size), floor, most)
