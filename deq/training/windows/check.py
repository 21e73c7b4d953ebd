"""Solve a fixed point at given weights, and compare a true GD step with a window's.

At a step inside the window the equilibria and adjoints are solved with the weights that the
window implies there. One true GD step is taken, and its e is compared with the window's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.training.windows.kinked_path import KinkedPath
from deq.training.windows.low_rank import (
    Network,
    Terms,
    adjoints,
    measured_error,
    output_weights,
    preactivations,
)
from deq.training.windows.nodes import inner_products, relative_change, second_order
from deq.training.windows.window import Accuracy, Slopes, Window

# Maps of a state after which it counts as unresolved.
MOST_MAPS = 6
# Error of e at which a state counts as resolved, in tol.
SHARE = 0.1


@dataclass(frozen=True)
class FixedPoint:
    """An equilibrium with its adjoint.

    Attributes:
        q, v: (n, m) pre-activations and adjoints.
        z, r: (n, m) phi(q) and phi'(q) * v.
        e: (n,) float64, the error.
        q_change, v_change: relative change of the worst sample under the last map.
        resolved: whether e is right to the tolerance.
    """

    q: Tensor
    v: Tensor
    z: Tensor
    r: Tensor
    e: Tensor
    q_change: float
    v_change: float
    resolved: bool


def solve_at(
    network: Network,
    terms: Terms,
    q: Tensor,
    v: Tensor,
    accuracy: Accuracy,
    slopes: Slopes | None = None,
) -> FixedPoint:
    """Map q and v with the weights at one step until e is resolved.

    Args:
        network: the weights at a window's start.
        terms: low-rank terms from there to the step.
        q: (n, m) pre-activations to begin with.
        v: (n, m) adjoints to begin with.
        accuracy: tolerance of e.
        slopes: returns the slopes at (q, phi(q)); by default phi'.
    """
    phi, a = network.phi, output_weights(network, terms)
    slopes = slopes or phi.derivative_at
    z = phi.function(q)
    r = slopes(q, z) * v
    for _ in range(MOST_MAPS):
        zz, rr = (
            inner_products(x, nodes, network.work)[:, None]
            for x, nodes in ((z, terms.z), (r, terms.r))
        )
        new_q = preactivations(network, terms, z[None], zz)[0]
        e = measured_error(network, z[None], r[None], (new_q - q)[None], a)[0]
        z = phi.function(new_q)
        slope = slopes(new_q, z)
        gr = None if terms.jumps is None else terms.jumps.inner((slope * v)[None], network.work)
        new_v = adjoints(network, terms, (slope * v)[None], rr, a, gr)[0]
        changes = relative_change(new_q - q, new_q), relative_change(new_v - v, new_v)
        q, v, r = new_q, new_v, slope * new_v
        error = second_order(*changes, q, r) + accuracy.floor
        if error <= max(SHARE * accuracy.tol * float(e.norm()), 2 * accuracy.floor):
            return FixedPoint(q, v, z, r, e, *changes, resolved=True)
    return FixedPoint(q, v, z, r, e, *changes, resolved=False)


def deviation(window: Window | KinkedPath, place: int) -> float:
    """Return ||e(s + 1) - the window's|| / ||e(s + 1)|| after a true GD step from s.

    Args:
        window: a window that has been solved.
        place: s, counted from the window's start; less than its length.

    Returns:
        The deviation; infinite where a state could not be resolved.
    """
    network, accuracy = window.network, window.accuracy
    terms = window.terms([place])
    here = solve_at(network, terms, *window.state(place), accuracy, window.slopes(place))
    terms = terms.with_step(here.z, here.r, here.e)
    there = solve_at(network, terms, *window.state(place + 1), accuracy, window.slopes(place + 1))
    if not (here.resolved and there.resolved):
        return torch.inf
    return float((there.e - window.e[place + 1]).norm() / there.e.norm())
