"""A fixed point and its error solved at given weights; a window's check on itself.

The check: at a step inside the window the equilibria and adjoints are solved with the weights
that the window implies there, one true GD step is taken, and the e that follows is compared
with the window's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.training.windows.low_rank import (
    Network,
    Terms,
    adjoints,
    measured_error,
    output_weights,
    preactivations,
)
from deq.training.windows.nodes import inner_products, relative_change, second_order
from deq.training.windows.window import Accuracy, Window

# Most maps of a state, and the share of tol that its e may be off by.
MOST_MAPS, SHARE = 6, 0.1


@dataclass(frozen=True)
class FixedPoint:
    """An equilibrium with its adjoint.

    Attributes:
        q, v, z, r: (n, m).
        e: (n,) float64.
        q_change, v_change: relative change of the worst sample under the last map.
        resolved: whether e is right to the tolerance asked for.
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
    network: Network, terms: Terms, q: Tensor, v: Tensor, accuracy: Accuracy
) -> FixedPoint:
    """Map q and v, (n, m), with the weights of the terms' step until e is resolved."""
    phi, a = network.phi, output_weights(network, terms)
    z = phi.function(q)
    r = phi.derivative_at(q, z) * v
    for _ in range(MOST_MAPS):
        zz, rr = (
            inner_products(x, nodes, network.work)[:, None]
            for x, nodes in ((z, terms.z), (r, terms.r))
        )
        new_q = preactivations(network, terms, z[None], zz)[0]
        e = measured_error(network, z[None], r[None], (new_q - q)[None], a)[0]
        z = phi.function(new_q)
        slope = phi.derivative_at(new_q, z)
        new_v = adjoints(network, terms, (slope * v)[None], rr, a)[0]
        changes = relative_change(new_q - q, new_q), relative_change(new_v - v, new_v)
        q, v, r = new_q, new_v, slope * new_v
        error = second_order(*changes, q, r) + accuracy.floor
        if error <= max(SHARE * accuracy.tol * float(e.norm()), 2 * accuracy.floor):
            return FixedPoint(q, v, z, r, e, *changes, resolved=True)
    return FixedPoint(q, v, z, r, e, *changes, resolved=False)


def deviation(window: Window, place: int) -> float:
    """||e(s + 1) - the window's|| / ||e(s + 1)|| after a true GD step from s.

    Args:
        window: one that has been solved for.
        place: s, counted from its start; before its end.
    """
    network, accuracy = window.network, window.accuracy
    step = window.nodes.steps[0] + place
    before, after = window.nodes.states.at([step]), window.nodes.states.at([step + 1])
    terms = window.terms([place])
    here = solve_at(network, terms, before.q[0], before.v[0], accuracy)
    terms = terms.with_step(here.z, here.r, here.e)
    there = solve_at(network, terms, after.q[0], after.v[0], accuracy)
    if not (here.resolved and there.resolved):
        return torch.inf
    return float((there.e - window.e[place + 1]).norm() / there.e.norm())
