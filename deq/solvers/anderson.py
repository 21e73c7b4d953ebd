"""Anderson acceleration of the last few iterates, sample by sample.

Source: Walker and Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer.
Anal. 49 (2011), the unconstrained form.
"""

import torch
from torch import Tensor

from deq.solvers.fixed_point import Map, Step
from deq.solvers.sizes import ANDERSON_DEPTH

# Ridge of the normal equations, relative to their trace.
RIDGE = 1e-12


class Anderson(Step):
    """x <- f(x) - sum_j c_j dF_j, where c minimises ||g - sum_j c_j dG_j||.

    g = f(x) - x; dF_j and dG_j are the differences of the last images and of the last g.
    """

    HISTORY = ("_last", "_images", "_changes")

    def __init__(self) -> None:
        self._last: list[Tensor] = []  # f(x) and g at the last iterate
        self._images: list[Tensor] = []  # dF_j, the newest first
        self._changes: list[Tensor] = []  # dG_j

    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """Return the next iterate, in the storage of `image`."""
        del f
        if self._last:
            self._images = [image - self._last[0], *self._images[: ANDERSON_DEPTH - 1]]
            self._changes = [change - self._last[1], *self._changes[: ANDERSON_DEPTH - 1]]
        self._last = [image.clone(), change.clone()]
        if self._changes:
            c = self._fit(change).to(image.dtype)
            for j, difference in enumerate(self._images):
                image.addcmul_(difference, c[..., j, None], value=-1)
        return image

    def _fit(self, change: Tensor) -> Tensor:
        """Return c (B, k, depth) in float64, from regularised normal equations."""
        basis = torch.stack(self._changes, dim=-2)
        normal = (basis @ basis.mT).double()
        right = (basis @ change[..., None]).double()
        scale = normal.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(torch.finfo().tiny)
        ridge = max(RIDGE, torch.finfo(change.dtype).eps) * scale
        eye = torch.eye(len(self._changes), dtype=torch.float64, device=change.device)
        c: Tensor = torch.linalg.solve_ex(normal + ridge[..., None, None] * eye, right).result
        return c[..., 0]
