"""Equilibria and adjoints at the nodes of a window, with their inner products."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.training.windows.low_rank import Network, Terms, Work
from deq.training.windows.polynomials import lagrange

# Units of rounding in a measured e.
ROUNDING = 4.0


@dataclass(frozen=True)
class States:
    """Pre-activations and adjoints at some GD steps: a polynomial in time goes through them.

    Attributes:
        steps: L of them, rising.
        q, v: (L, n, m).
    """

    steps: list[int]
    q: Tensor
    v: Tensor

    STATE = ("steps", "q", "v")

    def at(self, steps: Sequence[int]) -> "States":
        """States of the polynomial at other steps."""
        basis = lagrange(self.steps, torch.tensor(steps)).to(self.q)
        q, v = ((basis @ x.flatten(1)).view(-1, *x.shape[1:]) for x in (self.q, self.v))
        return States(list(steps), q, v)

    def before(self, step: int, most: int) -> "States":
        """The last `most` states before a step."""
        keep = [k for k, s in enumerate(self.steps) if s < step][-most:]
        return States([self.steps[k] for k in keep], self.q[keep], self.v[keep])

    def and_then(self, other: "States") -> "States":
        """These, then those of `other` at other steps."""
        new = [k for k, s in enumerate(other.steps) if s not in self.steps]
        steps = self.steps + [other.steps[k] for k in new]
        return States(steps, torch.cat([self.q, other.q[new]]), torch.cat([self.v, other.v[new]]))


class Nodes:
    """The nodes of a window while they are solved for; the first one is known.

    Attributes:
        steps: of the nodes, rising.
        q, v: (L, n, m) pre-activations and adjoints; z, r: phi(q) and phi'(q) * v.
        zz, rr: (L, L, n, n) float64 on the CPU, inner products of the samples of z and of r.
        q_change, v_change: (L,) relative change of the worst sample under the last map.

    With a `mask` (n, m), r is mask * v: v and r are those of fixed slopes.
    """

    def __init__(
        self,
        states: States,
        phi: Activation,
        work: Work,
        known: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> None:
        """Take the states' storage; `known`: the first node's own inner products, (n, n) each."""
        self.steps, self.q, self.v, self.phi = states.steps, states.q, states.v, phi
        self._work, self._mask = work, mask
        count, n = self.q.shape[:2]
        self.z = torch.empty_like(self.q)
        self.r = torch.empty_like(self.q)
        self.zz = torch.zeros(count, count, n, n, dtype=torch.float64)
        self.rr = torch.zeros_like(self.zz)
        self.q_change, self.v_change = [0.0] + [math.inf] * (count - 1), [0.0] * count
        if known is not None:
            self.zz[0, 0], self.rr[0, 0] = known
        self._refresh(list(range(count)), known=known is not None)

    @property
    def changes(self) -> list[float]:
        """The larger of both changes of every node."""
        return [max(pair) for pair in zip(self.q_change, self.v_change, strict=True)]

    def second_order(self, places: list[int]) -> float:
        """About how far e measured at these nodes is off after their last changes; the worst."""
        return max(
            second_order(self.q_change[k], self.v_change[k], self.q[k], self.r[k]) for k in places
        )

    @property
    def states(self) -> States:
        """Their states."""
        return States(self.steps, self.q, self.v)

    def replace(self, places: list[int], q: Tensor, v: Tensor) -> None:
        """Put new states, (A, n, m), at these places."""
        for k, place in enumerate(places):
            self.q_change[place] = relative_change(q[k] - self.q[place], q[k])
            self.v_change[place] = relative_change(v[k] - self.v[place], v[k])
        self.q[places], self.v[places] = q, v
        self._refresh(places)

    def predict(self, places: list[int], source: States) -> None:
        """Put another polynomial's states at these places."""
        states = source.at([self.steps[k] for k in places])
        self.q[places], self.v[places] = states.q, states.v
        self._refresh(places)

    def terms(self, c: Tensor, b: Tensor) -> Terms:
        """The terms of low rank with these moments."""
        return Terms(self.z, self.r, c, b)

    def slope(self, q: Tensor, z: Tensor) -> Tensor:
        """The slopes that r is of, at states (A, n, m) with z = phi(q)."""
        return self.phi.derivative_at(q, z) if self._mask is None else self._mask

    def _refresh(self, places: list[int], *, known: bool = False) -> None:
        self.z[places] = self.phi.function(self.q[places])
        self.r[places] = self.slope(self.q[places], self.z[places]) * self.v[places]
        for x, grams in ((self.z, self.zz), (self.r, self.rr)):
            for place in places[known:]:
                others = [j for j in range(len(x)) if j <= place or j not in places]
                products = inner_products(x[place], x[others], self._work)
                grams[others, place] = products
                grams[place, others] = products.mT


def inner_products(x: Tensor, nodes: Tensor, work: Work) -> Tensor:
    """Inner products of the nodes' samples with those of x; (n, m), (L, n, m) to (L, n, n)."""
    work.thin += len(nodes)
    products = nodes.double().flatten(0, 1) @ x.double().mT
    return products.view(len(nodes), nodes.shape[1], len(x)).cpu()


def relative_change(change: Tensor, of: Tensor) -> float:
    """||change|| / ||of|| of the worst sample; (n, m)."""
    sizes = torch.linalg.vector_norm(of, dim=-1).clamp_min(torch.finfo(of.dtype).tiny)
    return float((torch.linalg.vector_norm(change, dim=-1) / sizes).max())


def second_order(q_change: float, v_change: float, q: Tensor, r: Tensor) -> float:
    """About how far a measured e is off after these changes; q, r (n, m)."""
    return 0.1 * q_change * v_change * float(q.norm()) * float(r.norm()) / math.sqrt(len(q))


def rounding_floor(network: Network, q: Tensor, r: Tensor) -> float:
    """||e|| that the rounding of a measured e may make up; q, r (n, m)."""
    sizes = torch.linalg.vector_norm(q, dim=-1) * torch.linalg.vector_norm(r, dim=-1)
    scale = float(network.y.norm()) + float(sizes.norm()) / math.sqrt(q.shape[1])
    return ROUNDING * float(torch.finfo(q.dtype).eps) * scale
