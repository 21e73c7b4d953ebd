"""Path of e and of the monitored entries through a window of a kinked activation."""

import torch
from torch import Tensor

from deq.training.windows.error_recursion import moments
from deq.training.windows.low_rank import Jumps, Network, Terms
from deq.training.windows.monitored import Monitored
from deq.training.windows.nodes import Nodes
from deq.training.windows.polynomials import lagrange
from deq.training.windows.window import Accuracy, Slopes


class KinkedPath:
    """Nodes of a window, with e and the monitored entries at every GD step.

    Attributes:
        nodes: states at the nodes, with the slopes of the window's start.
        monitored: the entries that are followed.
        basis: (h + 1, L) Lagrange's basis at the window's steps.
        e: (h + 1, n) float64, the error at every step.
        q, nu: (h + 1, M) float64, pre-activations and jumps of the entries (see `monitored`).
        inner: (L, M, n) g . R0 at the nodes.
        error: relative error of e that interpolation leaves.
        low, high: slopes of phi left and right of the kink.
    """

    e: Tensor
    q: Tensor
    nu: Tensor
    inner: Tensor
    error: float

    def __init__(
        self, network: Network, nodes: Nodes, monitored: Monitored, accuracy: Accuracy
    ) -> None:
        self.network, self.nodes, self.monitored = network, nodes, monitored
        self.accuracy = accuracy
        first, last = nodes.steps[0], nodes.steps[-1]
        self.basis = lagrange(nodes.steps, torch.arange(first, last + 1))
        slopes = network.phi.derivative(torch.tensor([-1.0, 1.0], dtype=torch.float64))
        self.low, self.high = slopes.tolist()

    def terms(self, ends: list[int]) -> Terms:
        """Return the low-rank terms at `ends`, steps counted from the window's start."""
        c, b = moments(self.basis, self.e, ends)
        g, sample = self.monitored.g, self.monitored.sample
        jumps = jumps_of(g, sample, self.basis, self.nu, self.e, ends)
        return Terms(self.nodes.z, self.nodes.r, c, b, jumps)

    def state(self, place: int) -> tuple[Tensor, Tensor]:
        """Return q and v, (n, m) each, at step `place`, counted from the window's start."""
        states, monitored = self.nodes.states.at([self.nodes.steps[0] + place]), self.monitored
        q = states.q[0]
        q[monitored.sample, monitored.unit] = self.q[place].to(q)
        return q, monitored.added(states.v, self.nu[place][None], monitored.r)[0]

    def slopes(self, place: int) -> Slopes:
        """Return the function that gives the slopes at step `place`, from q and phi(q).

        Sliding entries have the sign that the window gives them: weights that are right to the
        tolerance do not determine their signs at one step.
        """
        monitored, slides = self.monitored, self.flips() > 1
        sample, unit = monitored.sample[slides], monitored.unit[slides]
        known = torch.where(self.q[place, slides] > 0, self.high, self.low)

        def at(q: Tensor, z: Tensor) -> Tensor:
            slopes = self.network.phi.derivative_at(q, z)
            slopes[sample, unit] = known.to(slopes)
            return slopes

        return at

    def grams(self, places: list[int]) -> tuple[Tensor, Tensor]:
        """Return inner products of z and of R, (T, n, n) each.

        Args:
            places: T steps, counted from the window's start.
        """
        basis, nodes, at = self.basis[places], self.nodes, self.monitored.sample
        pairs = (basis[:, :, None] * basis[:, None, :]).flatten(1)
        g, b = (
            (pairs @ x.flatten(0, 1).flatten(1)).view(-1, *x.shape[2:])
            for x in (nodes.zz, nodes.rr)
        )
        nu = self.nu[places]
        inner = (basis @ self.inner.flatten(1)).view(len(places), *self.inner.shape[1:])
        cross = torch.zeros_like(b).index_add_(1, at, nu[..., None] * inner)
        own = nu[:, :, None] * self.monitored.gg * nu[:, None, :]
        rows = own.new_zeros(len(own), b.shape[1], len(at)).index_add_(1, at, own)
        return g, (b + cross + cross.mT).index_add_(2, at, rows)

    def flips(self) -> Tensor:
        """Return how often every monitored entry changes sign in the window; (M,)."""
        signs = self.q > 0
        return (signs[1:] != signs[:-1]).sum(0)


def jumps_of(
    g: Tensor, sample: Tensor, basis: Tensor, nu: Tensor, e: Tensor, ends: list[int]
) -> Jumps:
    """Return what monitored entries add to the weights up to some steps.

    Args:
        g: (M, m) responses of the entries.
        sample: (M,) sample of each entry.
        basis: (h + 1, L) Lagrange's basis at the window's steps.
        nu: (h + 1, M) jumps of the entries at every step.
        e: (h + 1, n), the error at every step.
        ends: A steps, counted from the window's start.
    """
    weighted = nu[:-1] * e[:-1][:, sample]
    c = torch.stack([basis[:end].mT @ weighted[:end] for end in ends])
    return Jumps(g, sample, c, torch.stack([weighted[:end].sum(0) for end in ends]))
