"""The deep equilibrium model: its weights, its equilibrium and its adjoint.

Z = phi(W Z + U X), yhat = a^T Z, Phi = 1/2 ||yhat - y||^2 (docs/theory.md,
section 1).
Shape suffixes: b trials in the pack, m width, d input size, n samples. What belongs to
a sample is a row: Z is held as (B, n, m), so that samples are dropped and compared by
rows that lie together.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deq.config import ModelConfig
from deq.models.activation import Activation
from deq.solvers.fixed_point import Map, take


def initialise(
    configs: Sequence[ModelConfig],
    seeds: Sequence[int],
    d: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random weights W (B, m, m), U (B, m, d), a (B, m), each trial's from its own seed.

    Drawn on the CPU in float64 and rounded, so that a seed means the same network in
    every dtype, on every device and in every pack; row by row, so that no second
    matrix of W's size is ever held.
    """
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    return draw_pack(configs, streams, d, dtype=dtype, device=device)


def draw_pack(
    configs: Sequence[ModelConfig],
    streams: Sequence[torch.Generator],
    d: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """W (B, m, m), U (B, m, d), a (B, m), each trial's the next network of its stream."""
    batch, m = len(configs), configs[0].width
    w = torch.empty(batch, m, m, dtype=dtype, device=device)
    u = torch.empty(batch, m, d, dtype=dtype, device=device)
    a = torch.empty(batch, m, dtype=dtype, device=device)
    for b, (config, stream) in enumerate(zip(configs, streams, strict=True)):
        draw(config, stream, w[b], u[b], a[b])
    return w, u, a


def draw(config: ModelConfig, stream: torch.Generator, w: Tensor, u: Tensor, a: Tensor) -> None:
    """Fill one trial's W (m, m), U (m, d), a (m,) with the next network of its stream."""
    m = w.shape[0]
    for row in w:
        _fill(row, (2 * config.sigma_w2 / m) ** 0.5, stream)
    _fill_inputs(u, stream)
    _fill(a, config.sigma_a / m**0.5, stream)


def draw_inputs(config: ModelConfig, seed: int, d: int, dtype: torch.dtype) -> Tensor:
    """U (m, d) of the first network of a seed, without W's storage."""
    stream, m = torch.Generator().manual_seed(seed), config.width
    for _ in range(m):  # the rows of W come first in the stream
        torch.randn(m, dtype=torch.float64, generator=stream)
    u = torch.empty(m, d, dtype=dtype)
    _fill_inputs(u, stream)
    return u


def _fill_inputs(u: Tensor, stream: torch.Generator) -> None:
    """Fill U (m, d) with the next numbers of a stream."""
    for row in u:
        _fill(row, (2 / u.shape[1]) ** 0.5, stream)


def _fill(row: Tensor, scale: float, generator: torch.Generator) -> None:
    row.copy_(scale * torch.randn(row.shape[0], dtype=torch.float64, generator=generator))


class EquilibriumMap(Map):
    """q -> W phi(q) + P of a pack, P = U X; its fixed points are the pre-activations.

    Q = W Z + P with Z = phi(Q), so that Z and the derivative mask D = phi'(Q) are read
    off the solution. One row of (B, n, m) for each sample: row vectors meet W^T.
    """

    def __init__(self, phi: Activation, w_bmm: Tensor, p_bnm: Tensor) -> None:
        self.phi, self.w, self.p = phi, w_bmm, p_bnm
        self.matrix = w_bmm.mT

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """W phi(x) + P, written to `out`."""
        return self.image(self.argument(x), out)

    def argument(self, x: Tensor) -> Tensor:
        """phi(x), what W is multiplied with."""
        return self.phi.function(x)

    def image(self, z: Tensor, out: Tensor) -> Tensor:
        """W z + P, written to `out`."""
        return torch.baddbmm(self.p, z, self.matrix, out=out)

    def at(self, rows: Tensor) -> "EquilibriumMap":
        """The map of these samples only; rows (B, k)."""
        return EquilibriumMap(self.phi, self.w, take(self.p, rows))

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> W (phi'(x) * v)."""
        mask = self.phi.derivative(x)
        return lambda v: torch.bmm(mask * v, self.w.mT)


class AdjointMap(Map):
    """v -> a + W^T (D * v) of a pack; affine, one fixed point for all samples.

    It does not depend on the error yhat - y, so it changes as slowly as the weights do.
    """

    def __init__(self, w_bmm: Tensor, a_bm: Tensor, mask_bnm: Tensor) -> None:
        self.w, self.a, self.mask = w_bmm, a_bm, mask_bnm
        self.matrix = w_bmm

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """A + W^T (D * x), written to `out`."""
        return self.image(self.argument(x), out)

    def argument(self, x: Tensor) -> Tensor:
        """D * x, what W^T is multiplied with."""
        return self.mask * x

    def image(self, z: Tensor, out: Tensor) -> Tensor:
        """A + W^T z, written to `out`."""
        return torch.baddbmm(self.a[:, None, :], z, self.matrix, out=out)

    def at(self, rows: Tensor) -> "AdjointMap":
        """The map of these samples only; rows (B, k)."""
        return AdjointMap(self.w, self.a, take(self.mask, rows))

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> W^T (D * v)."""
        del x
        return lambda v: torch.bmm(self.mask * v, self.w)
