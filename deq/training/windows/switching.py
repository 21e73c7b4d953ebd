"""Compute the error e and the monitored pre-activations at all GD steps of a window.

In n + M dimensions, with X the samples' inputs, K = Z^T Z + X^T X, A_i = g_i . R0 (n,) and
nu(s) the jumps of the monitored adjoints (see `monitored`):

    Q_i(s+1) = Q_i(s) - eta w_i(s) + forcing,  w = (A K) e + (gg K) (nu e_b),
    e(s+1) = e(s) - eta [H~ e + sum_i (mean nu_i) w_i + (A K)^T (nu e_b)](s) + forcing,

with the rows of K at the entries' samples. The sign of Q_i at a step gives the entry's slope
there, so crossing and sliding need no special treatment.
Shapes: L nodes, h steps, n samples, M entries; float64 in numpy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

Array = NDArray[np.float64]
# Number of parts of a window; in each, K and A of the monitored entries are constant.
PARTS = 16


@dataclass(frozen=True)
class Switching:
    """Recursion of a window in n + M dimensions.

    Attributes:
        basis: (h + 1, L) Lagrange's basis at the steps.
        half: (h + 1, L) Lagrange's basis half a step later.
        tangents: (L, n, n) H~ of R0 at the nodes.
        inner: (L, M, n) g . R0 at the nodes.
        kernels: (L, n, n) K at the nodes.
        v0: (L, M) V0 of the entries at the nodes.
        gg, coupling: (M, M), see `Monitored`.
        sample: (M,) sample of each entry.
        slopes: (M,) slopes of the entries at the window's start.
        low, high: slopes of phi left and right of the kink.
        eta: the step size.
    """

    basis: Tensor
    half: Tensor
    tangents: Tensor
    inner: Tensor
    kernels: Tensor
    v0: Tensor
    gg: Tensor
    coupling: Tensor
    sample: Tensor
    slopes: Tensor
    low: float
    high: float
    eta: float

    def run(
        self, e: Tensor, q: Tensor, forcing: Tensor, q_forcing: Tensor
    ) -> tuple[Array, Array, Array]:
        """Take all steps of the window.

        Args:
            e: (n,) the error at the start.
            q: (M,) pre-activations of the entries at the start.
            forcing: (L, n) at the nodes; the differences of its polynomial are added to e.
            q_forcing: (L, M) at the nodes; the differences of its polynomial are added to q.

        Returns:
            e (h + 1, n), q (h + 1, M) and nu (h + 1, M) at every step.
        """
        basis, count = self.basis.numpy(), self.basis.shape[1]
        h, n, entries = len(basis) - 1, len(e), len(q)
        all_e, all_q, all_nu = (
            np.empty((h + 1, n)),
            np.empty((h + 1, entries)),
            np.empty((h + 1, entries)),
        )
        e_steps = np.diff(basis @ forcing.numpy(), axis=0)
        q_steps = np.diff(basis @ q_forcing.numpy(), axis=0)
        v0, v_half = basis @ self.v0.numpy(), self.half.numpy() @ self.v0.numpy()
        tangents = -self.eta * self.tangents.numpy().reshape(-1, n)
        blocks, length = self._blocks(), max(1, -(-h // PARTS))
        gamma = sparse.csr_array(self.coupling.numpy())
        gamma_t = sparse.csr_array(self.coupling.numpy().T.copy())
        low, high, base, at = self.low, self.high, self.slopes.numpy(), self.sample.numpy()
        x, z = e.numpy().copy(), q.numpy().copy()
        both = np.empty(n + entries)
        all_e[0], all_q[0] = x, z
        for k in range(h):
            slope = np.where(z > 0, high, low)
            change = slope - base
            v = v0[k]
            nu = change * (v + gamma @ (change * (v + gamma @ (change * v))))
            both[:n], both[n:] = x, nu * x[at]
            product = blocks[k // length] @ both
            w = product[n:]
            free = q_steps[k] + w
            value = slope * z
            move = free + gamma_t @ (_phi(z + free, low, high) - value - base * free)
            move = free + gamma_t @ (_phi(z + move, low, high) - value - base * move)
            new = z + move
            crossed = np.nonzero((new > 0) != (z > 0))[0]
            if len(crossed):
                slope[crossed] = (_phi(new[crossed], low, high) - value[crossed]) / move[crossed]
                change = slope - base
            v = v_half[k]
            mean = change * (v + gamma @ (change * (v + gamma @ (change * v))))
            image = (tangents @ x).reshape(count, n)
            x = x + basis[k] @ image + product[:n] + e_steps[k] + np.bincount(at, mean * w, n)
            z = new
            all_e[k + 1], all_q[k + 1], all_nu[k] = x, z, nu
        change = np.where(z > 0, high, low) - base
        all_nu[h] = change * (v0[h] + gamma @ (change * (v0[h] + gamma @ (change * v0[h]))))
        return all_e, all_q, all_nu

    def _blocks(self) -> Array:
        """Return -eta [[0, (A K)^T], [A K, gg K]] of each part; (parts, n + M, n + M)."""
        h, at = len(self.basis) - 1, self.sample
        length = max(1, -(-h // PARTS))
        middles = np.minimum(np.arange(0, h, length) + length // 2, h)
        basis = self.half[middles]
        kernels = (basis @ self.kernels.flatten(1)).view(-1, *self.kernels.shape[1:])
        inner = (basis @ self.inner.flatten(1)).view(len(basis), *self.inner.shape[1:])
        n, count = kernels.shape[1], len(at)
        blocks = kernels.new_zeros(len(basis), n + count, n + count)
        rows = kernels[:, at]
        blocks[:, n:, :n] = -self.eta * inner * rows
        blocks[:, :n, n:] = blocks[:, n:, :n].mT
        blocks[:, n:, n:] = -self.eta * self.gg * rows[:, :, at]
        array: Array = blocks.numpy()
        return array


def _phi(q: Array, low: float, high: float) -> Array:
    value: Array = q * np.where(q > 0, high, low)
    return value
