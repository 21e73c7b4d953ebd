"""One window of a kinked activation: nodes with fixed slopes, and entries that change theirs.

Nodes hold Q and V0, which are smooth in time; e and the entries that change sign are followed
one GD step at a time (see `switching`), with what the nodes measure put in by Newton's step.
An entry is followed as soon as a node, or the polynomial between two, has its other sign.
"""

import math

import torch
from torch import Tensor

from deq.training.windows.error_recursion import (
    half_step_tangents,
    interpolation_error,
)
from deq.training.windows.kinked_path import KinkedPath
from deq.training.windows.low_rank import (
    Network,
    adjoints,
    measured_error,
    output_weights,
    preactivations,
)
from deq.training.windows.monitored import Monitored
from deq.training.windows.nodes import Nodes
from deq.training.windows.polynomials import lagrange
from deq.training.windows.switching import Array, Switching
from deq.training.windows.window import ROUNDED, Accuracy, RejectedError, map_cost

# Maps of a window's nodes after which it is rejected.
MOST_MAPS = 16
# Relative change of q and v under a map at which the nodes count as solved, in tol.
CHANGE = 3.0
# Error of e that interpolation may leave, in tol.
INTERPOLATION = 0.5
# Difference between measured and followed e, and correction of an entry, that may be left, in tol.
LEFT = 1.0
# Distance from zero at which an entry is monitored, as a share of its range in the window.
MARGIN = 0.02
# Monitored entries above which a window is rejected, as a share of all n m entries.
MOST_FOLLOWED = 0.015
# Monitored entries a sample that are allowed at any width.
FOLLOWED = 10
# Points between two nodes, as shares of the gap, at which the signs of entries are compared.
BETWEEN = (0.25, 0.5, 0.75)
# Share of an entry's forcing that counts as its uncertainty.
SHARE = 0.2
# Change of the nodes below which new entries to monitor are looked for at the nodes.
ROUGH = 0.3
# Change of the nodes below which they are looked for between the nodes too.
NEAR = 0.03
# Change of the nodes below which e is corrected and its interpolation error estimated.
FINE = 1e-2


class KinkedWindow(KinkedPath):
    """A window of a kinked activation, while it is solved for and after.

    Attributes:
        error: relative error of e that interpolation leaves.
        model: the recursion that was run last.
        undecided: number of undecided entries that are not weighty.
    """

    def __init__(
        self,
        network: Network,
        nodes: Nodes,
        monitored: Monitored,
        start: Tensor,
        older: tuple[int, Tensor] | None,
        accuracy: Accuracy,
    ) -> None:
        """Set up a window that `solve` iterates.

        Args:
            network: the weights at the first node.
            nodes: states to begin with, with fixed slopes.
            monitored: entries to follow; `solve` adds to them.
            start: (n,) float64, e at the first node.
            older: step and H~ of a node before the window; None where there is none.
            accuracy: what the window must meet.
        """
        super().__init__(network, nodes, monitored, accuracy)
        self._older = older
        first, last = nodes.steps[0], nodes.steps[-1]
        self._half = lagrange(nodes.steps, torch.arange(first, last + 1) + 0.5)
        self._start, self._cost_before = start, network.total()
        self._forcing = start.new_zeros(len(nodes.steps), len(start))
        self._q_forcing = start.new_zeros(len(nodes.steps), 0)
        self.inner = start.new_zeros(len(nodes.steps), 0, len(start))
        self._measured: dict[int, Tensor] = {}
        self._off: dict[int, Tensor] = {}
        self.error, self.undecided = math.inf, 0

    def solve(self, sliding: Tensor) -> None:
        """Iterate until e is right to the tolerance.

        Args:
            sliding: (k, 2) sample and unit of entries to follow from the start.

        Raises:
            RejectedError: e is not right to the tolerance, or the window costs too much.
        """
        every = list(range(1, len(self.nodes.steps)))
        self._follow(sliding)
        self._follow(self._changing(every, between=True))
        self._trace()
        tol, before = self.accuracy.tol, math.inf
        goal = CHANGE * tol
        for k in range(MOST_MAPS):
            self._map(every)
            change = max(self.nodes.changes)
            if not change < 1e2 or (k > 6 and change > 0.8 * before and change > 10 * goal):
                raise RejectedError(math.inf)
            before = change
            left, off = self._left(), self._correct(every, change)
            added = 1
            if change < ROUGH:
                added = self._follow(self._changing(every, between=change < NEAR))
            self.error = self._interpolation_error() if change < FINE else math.inf
            self._trace()
            if k > 0 and change < 1e-3 and not added and self.error > max(4 * tol, 1.5 * change):
                raise RejectedError(self.error)
            if change < goal and not added and left < LEFT * tol and off < LEFT * tol:
                if not self.error <= INTERPOLATION * tol:
                    raise RejectedError(self.error)
                return
        raise RejectedError(math.inf)

    def _place(self, node: int) -> int:
        return self.nodes.steps[node] - self.nodes.steps[0]

    def _trace(self) -> None:
        """Compute e and the entries' q along the window from the present nodes."""
        nodes, network, monitored = self.nodes, self.network, self.monitored
        self.tangents = half_step_tangents(nodes.steps, nodes.zz, nodes.rr, network.xx)
        kernels = torch.stack([nodes.zz[k, k] for k in range(len(nodes.steps))]) + network.xx
        self.model = Switching(
            self.basis,
            self._half,
            self.tangents,
            self.inner,
            kernels,
            monitored.at(nodes.v).double().cpu(),
            monitored.gg,
            monitored.coupling,
            monitored.sample,
            monitored.at(monitored.mask).double().cpu(),
            self.low,
            self.high,
            network.eta,
        )
        paths = self.follow()
        self.e, self.q, self.nu = (torch.from_numpy(x) for x in paths)
        if not float(self.e[-1].norm()) < 1e3 * float(self._start.norm()):
            raise RejectedError(math.inf)

    def follow(self, shift: float = 0.0) -> tuple[Array, Array, Array]:
        """Run the recursion along the window.

        Args:
            shift: multiple of their uncertainty by which the entries' first q is moved.

        Returns:
            e (h + 1, n), q and nu (h + 1, M).
        """
        q = self.monitored.at(self.nodes.q[0]).double().cpu()
        if shift:
            q = q + shift * self.uncertainty()
        return self.model.run(self._start, q, self._forcing, self._q_forcing)

    def uncertainty(self) -> Tensor:
        """Estimate how far the entries' q may be off, from the corrections so far; (M,)."""
        uncertainty = SHARE * self._q_forcing.abs().amax(0)
        for off in self._off.values():
            uncertainty[: len(off)] = uncertainty[: len(off)].maximum(off.abs())
        return uncertainty

    def _map(self, active: list[int]) -> None:
        """Map the active nodes once, and measure e there."""
        network, nodes, monitored = self.network, self.nodes, self.monitored
        entries = len(monitored) / len(network.p)
        cost = map_cost(len(active), len(nodes.steps), *network.p.shape)
        cost += 2 * entries * len(active) * network.p.shape[0] / network.p.shape[1]
        if network.total() - self._cost_before + cost > self.accuracy.most:
            raise RejectedError(math.inf)
        places = [self._place(k) for k in active]
        terms = self.terms(places)
        a = output_weights(network, terms)
        before, at = nodes.q[active], (slice(None), monitored.sample, monitored.unit)
        before[at] = self.q[places].to(before)
        z = nodes.phi.function(before)
        q = preactivations(network, terms, z, nodes.zz[:, active])
        change = (q - before).double()[:, monitored.sample.to(q.device)]
        self._off = dict(zip(active, (change * monitored.g.double()).sum(-1).cpu(), strict=True))
        r = monitored.added(nodes.r[active], self.nu[places], monitored.g)
        errors = measured_error(network, z, r, q - before, a)
        self._measured |= dict(zip(active, errors, strict=True))
        gr = self.inner[active]
        v = adjoints(network, terms, nodes.r[active], nodes.rr[:, active], a, gr)
        nodes.replace(active, q, v)
        self.inner[active] = monitored.inner(nodes.r[active])

    def _follow(self, new: Tensor) -> int:
        """Monitor more entries, (k, 2) sample and unit; return how many of them are new."""
        before = len(self.monitored)
        if len(new):
            self.monitored.add(new[:, 0], new[:, 1])
            n, m = self.network.p.shape
            if len(self.monitored) > max(MOST_FOLLOWED * m, FOLLOWED) * n:
                raise RejectedError(math.inf)
        count = len(self.monitored) - before
        if count or self.inner.shape[1] < len(self.monitored):
            nodes, added = self.nodes, len(self.monitored) - self.inner.shape[1]
            g = self.monitored.g[-added:].double()
            fresh = torch.stack([(g @ r.double().mT).cpu() for r in nodes.r])
            self.network.work.thin += len(fresh) * added / len(self.network.p)
            self.inner = torch.cat([self.inner, fresh], 1)
            zeros = self._q_forcing.new_zeros(len(nodes.steps), added)
            self._q_forcing = torch.cat([self._q_forcing, zeros], 1)
        return count

    def _changing(self, active: list[int], *, between: bool) -> Tensor:
        """Return entries whose sign is not that of the window's start; (k, 2) sample and unit.

        Monitored entries are left out. With `between`, points between the nodes count too.
        """
        nodes, mask = self.nodes, self.monitored.mask
        sign = torch.where(mask == self.high, 1.0, -1.0).to(nodes.q)
        if between and len(nodes.steps) > 2:
            at = [
                u + part * (v - u)
                for u, v in zip(nodes.steps, nodes.steps[1:], strict=False)
                for part in BETWEEN
            ]
            basis = lagrange(nodes.steps, torch.tensor(at, dtype=torch.float64)).to(nodes.q)
            values = torch.cat([(basis @ nodes.q.flatten(1)).view(-1, *mask.shape), nodes.q])
            values = values * sign
            low, high = values.amin(0), values.amax(0)
            bad = low < MARGIN * (high - low)
        else:
            bad = (nodes.q[active] * sign).amin(0) <= 0
        bad[self.monitored.sample, self.monitored.unit] = False
        return bad.nonzero().cpu()

    def _left(self) -> float:
        """Return ||measured e - followed e|| / ||followed e|| at the worst node."""
        differences = []
        for k, e in self._measured.items():
            path = self.e[self._place(k)]
            differences.append(float((e - path).norm() / path.norm()))
        return max(differences)

    def _correct(self, active: list[int], change: float) -> float:
        """Correct both forcings by a Newton step; return the greatest correction of an entry."""
        worst, q = 0.0, self.nodes.q
        rounding = ROUNDED * float(torch.finfo(q.dtype).eps * q[0].square().mean().sqrt())
        for k in active:
            off = self._off[k]
            if len(off):
                worst = max(worst, float(off.abs().max()))
            self._q_forcing[k] += torch.where(off.abs() > rounding, off, 0.0)
        noise = self.nodes.second_order(active) / float(self.e[-1].norm())
        if change < FINE and self._left() > 3 * noise:
            for k in active:
                self._forcing[k] += self._measured[k] - self.e[self._place(k)]
        return worst

    def _interpolation_error(self) -> float:
        """Estimate e's interpolation error by the next divided difference and by the forcing.

        The smaller of both estimates is returned.
        """
        steps, eta = self.nodes.steps, self.network.eta
        by_forcing = max(
            float(self._forcing[k].norm() / self.e[self._place(k)].norm())
            for k in range(1, len(steps))
        )
        if self._older is None:
            return by_forcing
        by_difference = interpolation_error(steps, self.tangents, self._older, self.e, eta)
        return min(by_forcing or math.inf, by_difference)
