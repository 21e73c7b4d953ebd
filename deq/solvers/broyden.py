"""Broyden's method with limited memory, sample by sample.

Source: Kelley, "Solving nonlinear equations with Newton's method", SIAM 2003, chapter 4.
"""

import torch
from torch import Tensor

from deq.solvers.fixed_point import Map, Step
from deq.solvers.sizes import BROYDEN_MEMORY


class Broyden(Step):
    """x <- x - H g, g = f(x) - x, H an approximation of (f' - I)^{-1} updated at every step.

    H = -I + sum_j u_j v_j^T, and with s = dx and y = dg of the last step

        H <- H + (s - H y) (s^T H) / (s^T H y).

    The first step is Picard's.
    """

    HISTORY = ("_last", "_u", "_v")

    def __init__(self) -> None:
        self._last: list[Tensor] = []  # x and g
        self._u: list[Tensor] = []
        self._v: list[Tensor] = []

    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """Return the next iterate, in the storage of `image`."""
        del f
        x = image - change
        if self._last:
            self._update(x - self._last[0], change - self._last[1])
        self._last = [x, change.clone()]
        return torch.sub(x, self._apply(change), out=image)

    def _apply(self, y: Tensor) -> Tensor:
        """Return H y."""
        out = -y
        for u, v in zip(self._u, self._v, strict=True):
            out += u * (v * y).sum(-1, keepdim=True)
        return out

    def _update(self, s: Tensor, y: Tensor) -> None:
        """Update H so that H y = s; restart from -I when the memory is full."""
        if len(self._u) == BROYDEN_MEMORY:
            self._u, self._v = [], []
        hy, v = self._apply(y), -s
        for u_j, v_j in zip(self._u, self._v, strict=True):
            v += v_j * (u_j * s).sum(-1, keepdim=True)
        curvature = (s * hy).sum(-1, keepdim=True)
        size = torch.linalg.vector_norm(s, dim=-1, keepdim=True)
        small = curvature.abs() <= 1e-8 * size * torch.linalg.vector_norm(hy, dim=-1, keepdim=True)
        self._u.append(((s - hy) / curvature).masked_fill(small, 0.0))
        self._v.append(v)
