"""Gradients of the same network by TorchDEQ, for comparison with the engine.

`ift=True`, because its default gradient is a one-step phantom gradient; relative stopping and
explicit tolerances, because its defaults are absolute (1e-3 and 1e-6). TorchDEQ silently
ignores unknown options: those used here were checked against its source at version 0.1.0.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deq.activations.activation import Activation

# Solver of TorchDEQ, and whether an equilibrium starts from that of the step before.
CONTESTANTS = {
    "TorchDEQ Picard, warm": ("fixed_point_iter", True),
    "TorchDEQ Picard, cold": ("fixed_point_iter", False),
    "TorchDEQ Anderson, cold": ("anderson", False),
    "TorchDEQ Broyden, cold": ("broyden", False),
}


@dataclass(frozen=True)
class Weights:
    """A network and its data, as rows: w (m, m), p = U X (n, m), a (m,), x (n, d), y (n,)."""

    w: Tensor
    p: Tensor
    a: Tensor
    x: Tensor
    y: Tensor


class Peer:
    """One solver of TorchDEQ."""

    def __init__(self, solver: str, *, warm: bool, tol: float, phi: Activation) -> None:
        """Create the solver.

        Raises:
            ImportError: TorchDEQ is not installed.
        """
        from torchdeq import get_deq

        self.deq: Any = get_deq(
            core="indexing",
            ift=True,
            f_solver=solver,
            b_solver=solver,
            f_tol=tol,
            b_tol=tol,
            f_stop_mode="rel",
            b_stop_mode="rel",
            f_max_iter=100,
            b_max_iter=100,
        )
        self.warm, self.phi = warm, phi
        self.z: Tensor | None = None

    def gradient(self, at: Weights) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient of 1/2 ||yhat - y||^2 in w, u and a.

        u enters as a zero added to p, so that p is bit for bit the engine's while the
        products of u with x are still computed.
        """
        w, a = at.w.detach().requires_grad_(), at.a.detach().requires_grad_()
        u = at.w.new_zeros(at.w.shape[0], at.x.shape[1]).requires_grad_()
        p = at.p + at.x @ u.mT
        start = torch.zeros_like(p) if self.z is None or not self.warm else self.z
        (z, *_), _ = self.deq(lambda z: self.phi.function(z @ w.mT + p), start)
        loss = 0.5 * ((z @ a - at.y) ** 2).sum()
        loss.backward()
        self.z = z.detach()
        assert w.grad is not None
        assert u.grad is not None
        assert a.grad is not None
        return w.grad, u.grad, a.grad


def exact_gradient(at: Weights, phi: Activation, steps: int = 60) -> Tensor:
    """Return the gradient in w in float64, by plain iteration from zero: the reference."""
    w, p, a, y = (v.double() for v in (at.w, at.p, at.a, at.y))
    q, v = p, a.expand_as(p)
    for _ in range(steps):
        q = phi.function(q) @ w.mT + p
    z, mask = phi.function(q), phi.derivative(q)
    for _ in range(steps):
        v = (mask * v) @ w + a
    return (mask * v * (z @ a - y)[:, None]).mT @ z
