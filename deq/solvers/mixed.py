"""Fixed points with most products in low precision, to the same residual.

One full product gives a sample's image at the predicted start. From then on low-precision
products compute increments only,

    f(x_new) = f(x) + W (z_new - z),  z the vector that W is multiplied with,

and the sum is float32. The error of the low products since the last full one is bounded for
every sample and added to its residual in the stopping rule. A sample takes another full
product when this error is more than half of its residual. Shapes: (B, k, m).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from deq.linalg.hardware import allow_tf32
from deq.solvers.fixed_point import Map, take
from deq.solvers.solution import Solution

# Relative errors of the two factors of a TF32 product, together. A GPU may truncate, 2^-10
# each; rounding to nearest, as on a CPU here, halves that.
UNIT = 2.0**-9
# Share of the residual above which a sample's error calls for a full product.
SHARE = 0.5
# Columns of a matrix that are rounded at once.
COLUMNS = 256


class Affine(Map, Protocol):
    """A pack of maps x -> constant + argument(x) matrix; `matrix` is (B, m, m)."""

    matrix: Tensor

    def argument(self, x: Tensor) -> Tensor:
        """Return the vectors that the matrix is multiplied with, as a new tensor."""

    def image(self, z: Tensor, out: Tensor) -> Tensor:
        """Write the image of an x whose argument is z to `out` and return it."""

    def at(self, rows: Tensor) -> "Affine":
        """Return the map of these samples only; rows (B, k)."""


class MixedMap(Map):
    """An affine map for Picard's iteration, where every x is the start or the last image.

    With W_low and dz_low the factors in TF32, a low product has the error
    W (dz_low - dz) + (W_low - W) dz_low. Summed over the products since the last full one,

        ||image - f(x)|| <= UNIT ||W||_2 sum_j ||dz_j||    if ||W_low - W|| <= UNIT/2 ||W||,

    all norms ||.||_2. For a Gaussian W of any width, ||W_low - W|| is 0.22 of that limit with
    rounding and 0.43 with truncation. Only correlated rounding errors could exceed it, up to
    the same bound in the Frobenius norm (Higham and Mary, "A new approach to probabilistic
    rounding error analysis", SIAM J. Sci. Comput. 41, 2019). Rounding of float32 sums is not
    counted, as in full products.

    Attributes:
        error: (B, k) float64, bound on the relative error of the last image.
    """

    error: Tensor

    def __init__(self, f: Affine, norm: Tensor, samples: int) -> None:
        """Wrap a map.

        Args:
            f: the map in full precision.
            norm: (B,) float64, upper bound on ||W||_2.
            samples: samples of a trial.
        """
        self.f, self.norm = f, norm
        self.rows = torch.arange(samples, device=norm.device).expand(len(norm), samples)
        self.more = norm.new_zeros(len(norm), samples)  # full products after the first
        self.bound = self.error = torch.zeros_like(self.more)  # on ||image - f(x)||
        self.last: Tensor | None = None  # the last z; None: all take a full product next
        self.due: tuple[Tensor, Tensor] | None = None  # places of rows; which of them take one

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """Write f(x) up to `error` to `out` and return it, without waiting for the device."""
        z = self.f.argument(x)
        if self.last is None:
            self.f.image(z, out)
            self.bound = torch.zeros_like(self.bound)
        else:
            step = torch.sub(z, self.last, out=self.last)
            size = torch.linalg.vector_norm(step, dim=-1).double()
            self.bound = self.bound + UNIT * self.norm[:, None] * size
            low_product(x, step, self.f.matrix, out)
        if self.due is not None:
            self._full_products(*self.due, z, out)
        size = torch.linalg.vector_norm(out, dim=-1).clamp_min(torch.finfo(out.dtype).tiny)
        self.last, self.due, self.error = z, None, self.bound / size
        return out

    def _full_products(self, places: Tensor, which: Tensor, z: Tensor, out: Tensor) -> None:
        """Replace these rows of `out` by full products.

        Their low products are wasted, but leaving them out would copy all other rows.
        """
        full = take(z, places)
        full = self.f.at(places).image(full, torch.empty_like(full))
        full = torch.where(which[..., None], full, take(out, places))
        out.scatter_(1, places[..., None].expand_as(full), full)
        kept = self.bound.gather(1, places).masked_fill(which, 0.0)
        self.bound = self.bound.scatter(1, places, kept)

    def refresh(self, live: Tensor, residual: Tensor) -> None:
        """Decide which samples take a full product next, each independently of the others.

        This reads from the device. Between two calls all products are low, which can cost
        time but never lets a wrong answer pass.
        """
        due = live & (self.error > SHARE * residual)
        self.more.scatter_add_(1, self.rows, due.double())
        counts: list[int] = due.sum(-1).tolist()
        if min(counts) == due.shape[1]:
            self.last = None
        elif max(counts):
            places = due.argsort(dim=-1, descending=True, stable=True)[:, : max(counts)]
            self.due = places, due.gather(1, places)

    def at(self, rows: Tensor) -> "MixedMap":
        """Return the map of these samples only, with their errors so far."""
        part = MixedMap(self.f.at(rows), self.norm, rows.shape[1])
        part.rows, part.more = self.rows.gather(1, rows), self.more
        part.bound = self.bound.gather(1, rows)
        part.error = self.error.gather(1, rows)
        part.last = None if self.last is None else take(self.last, rows)
        return part

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> f'(x) v, in full precision."""
        return self.f.slope(x)

    def counted(self, solution: Solution) -> Solution:
        """Return this map's solution with `low` set."""
        full = (1 + self.more.mean(-1)).tolist()
        return replace(solution, low=[p - f for p, f in zip(solution.products, full, strict=True)])


def low_product(base: Tensor, z: Tensor, matrix: Tensor, out: Tensor) -> Tensor:
    """Return base + z matrix with factors in TF32 (10-bit mantissa) and sums in float32.

    A CPU rounds the factors and multiplies in float32: the same numbers up to rounding of
    the sums, and no time saved.

    Args:
        base: (B, k, m) float32.
        z: (B, k, m) float32.
        matrix: (B, m, m) float32.
        out: (B, k, m), receives the result.
    """
    if z.is_cuda:
        with allow_tf32():
            return torch.baddbmm(base, z, matrix, out=out)
    z = round_tf32(z)
    for first in range(0, matrix.shape[-1], COLUMNS):
        part = slice(first, first + COLUMNS)
        out[..., part] = torch.baddbmm(base[..., part], z, round_tf32(matrix[..., part]))
    return out


def round_tf32(x: Tensor) -> Tensor:
    """Round float32 to TF32's 10-bit mantissa, to nearest, ties away from zero."""
    return x.view(torch.int32).add(0x1000).bitwise_and_(-0x2000).view(torch.float32)
