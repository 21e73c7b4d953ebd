"""Fixed points with most of their products in low precision, to the same residual.

One full product gives a sample's image at the predicted point; from there on low-precision
products carry the increments only,

    f(x_new) = f(x) + W (z_new - z),  z what W is multiplied with,

and the sum is float32. What the low products may have missed since the last full one is
bounded for every sample, counts as residual in the stopping rule, and calls for another
full product where it is more than half of what holds the sample up. Shapes: (B, k, m).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from deq.linalg.hardware import allow_tf32
from deq.solvers.fixed_point import Map, Solution, take

# Relative errors of the two factors of a TF32 product, together. A GPU may cut the low bits
# off, 2^-10 each; rounded to nearest, as on a CPU here, they err by half of that.
UNIT = 2.0**-9
# A sample takes a full product where its error is more than this share of its residual.
SHARE = 0.5
# Columns of a matrix that are rounded at once.
COLUMNS = 256


class Affine(Map, Protocol):
    """A pack of maps x -> constant + argument(x) matrix, the matrix (B, m, m)."""

    matrix: Tensor

    def argument(self, x: Tensor) -> Tensor:
        """What the matrix is multiplied with, in storage of its own."""

    def image(self, z: Tensor, out: Tensor) -> Tensor:
        """The image of an x whose argument is z, written to `out`."""

    def at(self, rows: Tensor) -> "Affine":
        """The map of these samples only; rows (B, k)."""


class MixedMap(Map):
    """An affine map for Picard's iteration, where every x is the start or the last image.

    With W_low and dz_low what TF32 leaves of the factors, a low product is wrong by
    W (dz_low - dz) + (W_low - W) dz_low. Summed over those since the last full one,

        ||image - f(x)|| <= UNIT ||W||_2 sum_j ||dz_j||    if ||W_low - W|| <= UNIT/2 ||W||,

    the norms ||.||_2. Of a Gaussian W, ||W_low - W|| is 0.22 of that limit where entries are
    rounded and 0.43 where bits are cut off, at every width. Only roundings that conspire
    could pass it, up to the same with the Frobenius norm (Higham and Mary, "A new approach
    to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019). Rounding of
    float32's sums is not counted, as it is not in full products.
    """

    error: Tensor

    def __init__(self, f: Affine, norm: Tensor, samples: int) -> None:
        """Norm (B,) float64, ||W||_2 or above."""
        self.f, self.norm = f, norm
        self.rows = torch.arange(samples, device=norm.device).expand(len(norm), samples)
        self.more = norm.new_zeros(len(norm), samples)  # full products beside the first
        self.bound = self.error = torch.zeros_like(self.more)  # on ||image - f(x)||
        self.last: Tensor | None = None  # the last z; None: all take a full product next
        self.due: tuple[Tensor, Tensor] | None = None  # places of some to take one; which do

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """f(x) up to `error`, written to `out`. Nothing here waits for the device."""
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
            self._renew(*self.due, z, out)
        size = torch.linalg.vector_norm(out, dim=-1).clamp_min(torch.finfo(out.dtype).tiny)
        self.last, self.due, self.error = z, None, self.bound / size
        return out

    def _renew(self, places: Tensor, which: Tensor, z: Tensor, out: Tensor) -> None:
        """Put full products into these rows of `out`, whose low ones were taken in vain.

        To leave them out would take a copy of all the other rows, which costs more.
        """
        full = take(z, places)
        full = self.f.at(places).image(full, torch.empty_like(full))
        full = torch.where(which[..., None], full, take(out, places))
        out.scatter_(1, places[..., None].expand_as(full), full)
        kept = self.bound.gather(1, places).masked_fill(which, 0.0)
        self.bound = self.bound.scatter(1, places, kept)

    def refresh(self, live: Tensor, residual: Tensor) -> None:
        """Decide, by each sample itself, which of them take a full product next.

        How many they are is read from the device, here only: until the host looks again all
        go on in low precision, which takes time and never makes a wrong answer pass.
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
        """The map of these samples only, where they are."""
        part = MixedMap(self.f.at(rows), self.norm, rows.shape[1])
        part.rows, part.more = self.rows.gather(1, rows), self.more
        part.bound = self.bound.gather(1, rows)
        part.error = self.error.gather(1, rows)
        part.last = None if self.last is None else take(self.last, rows)
        return part

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> f'(x) v, in full precision."""
        return self.f.slope(x)

    def counted(self, solution: Solution) -> Solution:
        """The solution found by this map, with the low-precision products among its own."""
        full = (1 + self.more.mean(-1)).tolist()
        return replace(solution, low=[p - f for p, f in zip(solution.products, full, strict=True)])


def low_product(base: Tensor, z: Tensor, matrix: Tensor, out: Tensor) -> Tensor:
    """base + z matrix, the factors in TF32 (10 bits of mantissa), sums in float32.

    On a CPU the factors are rounded and multiplied in float32: the same numbers up to the
    rounding of sums, and no time gained.
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
    """Float32 rounded to TF32's 10 bits of mantissa, to nearest, ties away from zero."""
    return x.view(torch.int32).add(0x1000).bitwise_and_(-0x2000).view(torch.float32)
