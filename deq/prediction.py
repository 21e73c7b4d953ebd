"""Where a fixed point is expected at the next GD step.

One GD step resembles the next: the differences d_t = z_t - z_{t-1} of each sample's
equilibrium nearly obey a linear recurrence. Fitting d_t by the `DEPTH` differences
before it and applying the same coefficients once more starts the next solve much
closer than z_t does. A prediction saves maps, never accuracy: the stopping rule is on
the true residual.
"""

import torch
from torch import Tensor

# Differences the last one is fitted by.
DEPTH = 3
# Relative ridge: differences are nearly collinear once one mode is left.
RIDGE = 1e-10
# A sample whose last difference is fitted worse than this is not extrapolated.
TRUST = 0.5


class Predictor:
    """Per-sample linear prediction of a pack's states (B, m, n)."""

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._differences: list[Tensor] = []  # the newest first

    def push(self, z: Tensor) -> None:
        """Take in the state of one more GD step."""
        if self._last is not None:
            self._differences = [z - self._last, *self._differences[:DEPTH]]
        self._last = z

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""
        if self._last is not None:
            self._last = self._last[keep]
        self._differences = [d[keep] for d in self._differences]

    def predict(self, cold: Tensor) -> Tensor:
        """The expected next state; `cold` when there is no history."""
        if self._last is None:
            return cold
        if len(self._differences) <= DEPTH:
            return self._last
        target, *before = self._differences
        basis = torch.stack(before)
        normal = torch.einsum("jbmn,kbmn->bnjk", basis, basis).double()
        right = torch.einsum("jbmn,bmn->bnj", basis, target).double()
        scale = normal.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(torch.finfo().tiny)
        normal = normal + (RIDGE * scale)[..., None, None] * torch.eye(
            DEPTH, dtype=normal.dtype, device=normal.device
        )
        fitted = torch.linalg.solve(normal, right[..., None])[..., 0].to(target.dtype)
        explained = torch.einsum("bnj,jbmn->bmn", fitted, basis)
        miss: Tensor = torch.linalg.vector_norm(target - explained, dim=-2, keepdim=True)
        size: Tensor = torch.linalg.vector_norm(target, dim=-2, keepdim=True)
        recent = torch.stack(self._differences[:DEPTH])
        step: Tensor = torch.einsum("bnj,jbmn->bmn", fitted, recent)
        trusted = miss <= TRUST * size
        return self._last + step * trusted
