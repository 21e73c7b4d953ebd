"""Equilibria and adjoints at the nodes of a window, and inner products of the nodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.training.windows.low_rank import Network, Terms, Work
from deq.training.windows.polynomials import lagrange

# Error of a measured e in units of its rounding.
ROUNDING = 4.0


@dataclass(frozen=True)
class States:
    """Pre-activations and adjoints at L GD steps; a polynomial in time goes through them.

    Attributes:
        steps: the L steps, rising.
        q, v: (L, n, m) pre-activations and adjoints.
    """

    steps: list[int]
    q: Tensor
    v: Tensor

    STATE = ("steps", "q", "v")

    def at(self, steps: Sequence[int]) -> "States":
        """Return the states of the polynomial at other steps."""
        basis = lagrange(self.steps, torch.tensor(steps)).to(self.q)
        q, v = ((basis @ x.flatten(1)).view(-1, *x.shape[1:]) for x in (self.q, self.v))
        return States(list(steps), q, v)

    def before(self, step: int, most: int) -> "States":
        """Return the last `most` states before a step."""
        keep = [k for k, s in enumerate(self.steps) if s < step][-most:]
        return States([self.steps[k] for k in keep], self.q[keep], self.v[keep])

    def and_then(self, other: "States") -> "States":
        """Return these states, followed by those of `other` at steps that are not among them."""
        new = [k for k, s in enumerate(other.steps) if s not in self.steps]
        steps = self.steps + [other.steps[k] for k in new]
        return States(steps, torch.cat([self.q, other.q[new]]), torch.cat([self.v, other.v[new]]))


class Nodes:
    """Nodes of a window while they are solved for. The first one is the present state.

    With a `mask` (n, m), slopes are fixed: r is mask * v, and v belongs to these slopes.

    Attributes:
        steps: GD steps of the nodes, rising.
        q, v: (L, n, m) pre-activations and adjoints.
        z, r: (L, n, m) phi(q) and phi'(q) * v.
        zz, rr: (L, L, n, n) float64 on the CPU, inner products of the samples of z and of r.
        q_change, v_change: (L,) relative change of the worst sample under the last map.
    """

    def __init__(
        self,
        states: States,
        phi: Activation,
        work: Work,
        known: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
    ) -> None:
        """Begin with some states, whose storage is used from then on.

        Args:
            states: at the nodes.
            phi: the activation.
            work: counter of products.
            known: (n, n) inner products of z and of r of the first node; None to compute them.
            mask: (n, m) fixed slopes; None for phi'.
        """
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
        """Return the larger of `q_change` and `v_change` of every node."""
        return [max(pair) for pair in zip(self.q_change, self.v_change, strict=True)]

    def second_order(self, places: list[int]) -> float:
        """Estimate the error of measured e at the worst of these nodes after the last map."""
        return max(
            second_order(self.q_change[k], self.v_change[k], self.q[k], self.r[k]) for k in places
        )

    @property
    def states(self) -> States:
        """Return pre-activations and adjoints of the nodes."""
        return States(self.steps, self.q, self.v)

    def replace(self, places: list[int], q: Tensor, v: Tensor) -> None:
        """Replace q and v at A nodes after a map, and note how much they changed.

        Args:
            places: indices of the nodes.
            q: (A, n, m) new pre-activations.
            v: (A, n, m) new adjoints.
        """
        for k, place in enumerate(places):
            self.q_change[place] = relative_change(q[k] - self.q[place], q[k])
            self.v_change[place] = relative_change(v[k] - self.v[place], v[k])
        self.q[places], self.v[places] = q, v
        self._refresh(places)

    def predict(self, places: list[int], source: States) -> None:
        """Set the nodes with these indices to the states of another polynomial."""
        states = source.at([self.steps[k] for k in places])
        self.q[places], self.v[places] = states.q, states.v
        self._refresh(places)

    def terms(self, c: Tensor, b: Tensor) -> Terms:
        """Return the low-rank terms with moments c (A, L, L, n) and b (A, L, n) of e."""
        return Terms(self.z, self.r, c, b)

    def slope(self, q: Tensor, z: Tensor) -> Tensor:
        """Return the slopes of states q (A, n, m) with z = phi(q): the mask, or phi'."""
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
    """Return inner products of the nodes' samples with those of x; (L, n, n).

    Args:
        x: (n, m).
        nodes: (L, n, m).
        work: counter of products.
    """
    work.thin += len(nodes)
    products = nodes.double().flatten(0, 1) @ x.double().mT
    return products.view(len(nodes), nodes.shape[1], len(x)).cpu()


def relative_change(change: Tensor, of: Tensor) -> float:
    """Return ||change|| / ||of|| of the worst sample; both are (n, m)."""
    sizes = torch.linalg.vector_norm(of, dim=-1).clamp_min(torch.finfo(of.dtype).tiny)
    return float((torch.linalg.vector_norm(change, dim=-1) / sizes).max())


def second_order(q_change: float, v_change: float, q: Tensor, r: Tensor) -> float:
    """Estimate the error of a measured e after these relative changes; q and r are (n, m)."""
    return 0.1 * q_change * v_change * float(q.norm()) * float(r.norm()) / math.sqrt(len(q))


def rounding_floor(network: Network, q: Tensor, r: Tensor) -> float:
    """Return the part of ||e|| that rounding of a measured e may make up; q and r are (n, m)."""
    sizes = torch.linalg.vector_norm(q, dim=-1) * torch.linalg.vector_norm(r, dim=-1)
    scale = float(network.y.norm()) + float(sizes.norm()) / math.sqrt(q.shape[1])
    return ROUNDING * float(torch.finfo(q.dtype).eps) * scale
