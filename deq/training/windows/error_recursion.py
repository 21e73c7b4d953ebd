"""The error e = yhat - y through all GD steps of a window, in n dimensions.

Exactly, e(s+1) = e(s) - eta H~(s) e(s) with

    H~_ik = Zm_i.Z_k + (Rm_i.R_k) (Zm_i.Z_k + X_i.X_k),

Zm and Rm the means of a step's two ends, up to O(change in a step)^2 those at s + 1/2. H~ is
slow and is interpolated from the nodes; e has fast modes and never is.
Shapes: L nodes, h steps, n samples; all tensors float64, on the CPU.
"""

import torch
from torch import Tensor

from deq.training.windows.polynomials import lagrange, tau


def half_step_tangents(steps: list[int], zz: Tensor, rr: Tensor, xx: Tensor) -> Tensor:
    """Return H~ at every node; (L, n, n).

    Args:
        steps: GD steps of the nodes.
        zz: (L, L, n, n) inner products Z_j.Z_k of the nodes' samples.
        rr: (L, L, n, n) inner products R_j.R_k of the nodes' samples.
        xx: (n, n) X^T X.
    """
    basis = lagrange(steps, torch.tensor(steps, dtype=torch.float64) + 0.5)
    g = torch.einsum("lc,clij->lij", basis, zz)
    b = torch.einsum("lc,clij->lij", basis, rr)
    return g + b * (g + xx)


def recursion(
    basis: Tensor, tangents: Tensor, eta: float, start: Tensor, forcing: Tensor
) -> Tensor:
    """Return e at every step of a window; (h + 1, n).

    Args:
        basis: (h + 1, L) Lagrange's basis at the steps.
        tangents: (L, n, n) H~ at the nodes.
        eta: the step size.
        start: (n,) e at the window's start.
        forcing: (L, n) C at the nodes; its polynomial's differences are added to each step.
    """
    count, n = tangents.shape[:2]
    eye = torch.eye(n, dtype=tangents.dtype)[None]
    matrix = torch.cat([-eta * tangents, eye]).reshape(-1, n)
    weights = torch.cat([basis, torch.ones_like(basis[:, :1])], dim=1).unbind(0)
    e = torch.cat([start[None], (basis @ forcing).diff(dim=0)])
    image = matrix.new_empty((count + 1) * n)
    by_node, rows = image.view(count + 1, n).T, e.unbind(0)
    for k in range(len(rows) - 1):
        torch.mv(matrix, rows[k], out=image)
        rows[k + 1].addmv_(by_node, weights[k])
    return e


def moments(basis: Tensor, e: Tensor, ends: list[int]) -> tuple[Tensor, Tensor]:
    """Return c_jk = sum_{s < end} F_j F_k e(s) and b_j = sum_{s < end} F_j e(s).

    Args:
        basis: (h + 1, L) F, Lagrange's basis at the steps.
        e: (h + 1, n), the error at the steps.
        ends: A steps, counted from the window's start, rising.

    Returns:
        c (A, L, L, n) and b (A, L, n).
    """
    count, n = basis.shape[1], e.shape[1]
    c, b = e.new_zeros(count * count, n), e.new_zeros(count, n)
    all_c, all_b, last = [], [], 0
    for end in ends:
        part, errors = basis[last:end], e[last:end]
        c = c + (part[:, :, None] * part[:, None, :]).flatten(1).mT @ errors
        b, last = b + part.mT @ errors, end
        all_c.append(c.view(count, count, n))
        all_b.append(b)
    return torch.stack(all_c), torch.stack(all_b)


def interpolation_error(
    steps: list[int], tangents: Tensor, older: tuple[int, Tensor] | None, e: Tensor, eta: float
) -> float:
    """Estimate the greatest relative error of e that the interpolation of H~ leaves.

    The remainder of the interpolation, from the next divided difference of H~ with one node
    more, is multiplied by e and summed over the steps.

    Args:
        steps: GD steps of the nodes.
        tangents: (L, n, n) H~ at the nodes.
        older: step and H~ of a node before the window; without one the estimate is 0.
        e: (h + 1, n), the error at the steps.
        eta: the step size.
    """
    if older is None:
        return 0.0
    x = tau(torch.tensor([*steps, older[0]]))
    known = torch.cat([tangents, older[1][None]])
    gaps = x[:, None] - x[None, :] + torch.eye(len(x), dtype=x.dtype)
    difference = (known / gaps.prod(1)[:, None, None]).sum(0)
    times = tau(steps[0] + torch.arange(len(e) - 1))
    remainder = (times[:, None] - x[None, :-1]).prod(1)
    drift = eta * (remainder[:, None] * e[:-1]).cumsum(0) @ difference.mT
    return float((drift.norm(dim=1) / e[1:].norm(dim=1)).max())
