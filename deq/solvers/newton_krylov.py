"""Newton's method with GMRES for its linear equations, sample by sample.

Sources: Saad and Schultz, "GMRES", SIAM J. Sci. Stat. Comput. 7 (1986); Knoll and Keyes,
"Jacobian-free Newton-Krylov methods", J. Comput. Phys. 193 (2004).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from deq.solvers.fixed_point import Map, Step
from deq.solvers.sizes import KRYLOV

# Most halvings of a step that makes the residual grow; then it is taken.
HALVINGS = 4
# Relative residual to which a linear equation is solved.
FORCING = 1e-2


class NewtonKrylov(Step):
    """x <- x + d with (I - f'(x)) d = f(x) - x, halved while the residual would grow.

    f need not contract, so this also reaches equilibria where Picard's iteration diverges.
    One step costs one product for each vector of the Krylov space.
    """

    HISTORY = ("_last",)

    def __init__(self) -> None:
        self._last: list[Tensor] = []  # x, d, ||f(x) - x|| at x, and halvings of d

    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """Return the next iterate, in the storage of `image`."""
        x, size = image - change, torch.linalg.vector_norm(change, dim=-1, keepdim=True)
        d, self.products = gmres(f.slope(x), change)
        halvings = torch.zeros_like(size)
        if self._last:
            before, step, least, halved = self._last
            # True also if the residual is NaN.
            worse = ~(size < least) & (halved < HALVINGS)
            d = torch.where(worse, step / 2, d)
            x = torch.where(worse, before, x)
            size = torch.where(worse, least, size)
            halvings = torch.where(worse, halved + 1, halvings)
        self._last = [x, d, size, halvings]
        return torch.add(x, d, out=image)


def gmres(slope: Callable[[Tensor], Tensor], right: Tensor) -> tuple[Tensor, int]:
    """Solve ||(I - J) d - right|| <= FORCING ||right|| for each sample by GMRES.

    Args:
        slope: v -> J v, each sample independent of the others.
        right: (B, k, m).

    Returns:
        d (B, k, m), and the number of products. Each sample stops by its own residual.
    """
    tiny = torch.finfo(right.dtype).tiny
    beta = torch.linalg.vector_norm(right, dim=-1)
    basis = [right / beta.clamp_min(tiny)[..., None]]
    h = right.new_zeros(*beta.shape, KRYLOV + 1, KRYLOV, dtype=torch.float64)
    c = torch.zeros_like(h[..., 0, :])
    done = torch.zeros_like(beta, dtype=torch.bool)
    for j in range(KRYLOV):
        v = basis[j] - slope(basis[j])
        for i, q in enumerate(basis):
            overlap = (q * v).sum(-1)
            h[..., i, j] = overlap.double()
            v = v.addcmul(q, overlap[..., None], value=-1)
        height = torch.linalg.vector_norm(v, dim=-1)
        h[..., j + 1, j] = height.double()
        solution, rest = _least_squares(h[..., : j + 2, : j + 1])
        new = ~done & ((rest <= FORCING) | (j + 1 == KRYLOV))
        c[..., : j + 1] = torch.where(new[..., None], solution, c[..., : j + 1])
        done = done | new
        if bool(done.all()):
            break
        basis.append(v / height.clamp_min(tiny)[..., None])
    c *= beta.double()[..., None]
    d = torch.zeros_like(right)
    for j, q in enumerate(basis):
        d.addcmul_(q, c[..., j, None].to(d.dtype))
    return d, len(basis)


def _least_squares(h: Tensor) -> tuple[Tensor, Tensor]:
    """Return the c that minimises ||e_1 - h c||, and that norm; h (B, k, j + 1, j)."""
    q, r = torch.linalg.qr(h)
    first = q[..., 0, :, None]  # q^T e_1
    safe = r.diagonal(dim1=-2, dim2=-1).abs().amin(-1) > 0
    eye = torch.eye(r.shape[-1], dtype=r.dtype, device=r.device)
    r = torch.where(safe[..., None, None], r, eye)
    c = torch.linalg.solve_triangular(r, first, upper=True)[..., 0]
    rest = (1 - first.square().sum((-1, -2))).clamp_min(0).sqrt()
    return c, rest
