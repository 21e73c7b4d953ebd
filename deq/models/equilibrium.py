"""The deep equilibrium model: its weights, its equilibrium and its adjoint.

Z = phi(W Z + U X), yhat = a^T Z, Phi = 1/2 ||yhat - y||^2 (docs/theory.md, section 1).
B is the number of trials in a pack, m the width, d the input size, n the number of samples.
Samples are rows: Z is held as (B, n, m), so that a sample is contiguous in memory. Parameters of
the two maps carry their shape as a suffix: w_bmm is (B, m, m).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.config import ModelConfig
from deq.solvers.fixed_point import Map, take

# Rows of W or U that are drawn at once where the whole is not held.
BLOCK = 16


def draw_pack(
    configs: Sequence[ModelConfig],
    streams: Sequence[torch.Generator],
    d: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw W (B, m, m), U (B, m, d), a (B, m), each trial's next network of its stream.

    W_ij ~ N(0, 2 sigma_w2 / m), U_ij ~ N(0, 2 / d), a_i ~ N(0, sigma_a^2 / m). Drawn on the
    CPU in float64 and rounded, so that a seed gives the same network in every dtype, on
    every device and in every pack; row by row, so that no second W is held.

    Args:
        configs: the models, of one width.
        streams: random number generators on the CPU, one for each model.
        d: input size.
        dtype: of the weights.
        device: of the weights.
    """
    batch, m = len(configs), configs[0].width
    w = torch.empty(batch, m, m, dtype=dtype, device=device)
    u = torch.empty(batch, m, d, dtype=dtype, device=device)
    a = torch.empty(batch, m, dtype=dtype, device=device)
    for b, (config, stream) in enumerate(zip(configs, streams, strict=True)):
        draw(config, stream, w[b], u[b], a[b])
    return w, u, a


def draw(config: ModelConfig, stream: torch.Generator, w: Tensor, u: Tensor, a: Tensor) -> None:
    """Fill one trial's W (m, m), U (m, d), a (m,) with the next network of its stream."""
    scale_w, scale_u, scale_a = _scales(config, u.shape[1])
    for row in w:
        _fill(row, scale_w, stream)
    for row in u:
        _fill(row, scale_u, stream)
    _fill(a, scale_a, stream)


def draw_inputs(config: ModelConfig, seed: int, d: int, dtype: torch.dtype) -> Tensor:
    """Draw U (m, d) of the first network of a seed, without storing W."""
    stream, m = torch.Generator().manual_seed(seed), config.width
    for _ in range(m):  # the rows of W come first in the stream
        torch.randn(m, dtype=torch.float64, generator=stream)
    u = torch.empty(m, d, dtype=dtype)
    for row in u:
        _fill(row, _scales(config, d)[1], stream)
    return u


def draw_blocks(
    config: ModelConfig, seed: int, d: int, dtype: torch.dtype
) -> Iterator[tuple[str, int, Tensor]]:
    """Draw the first network of a seed in blocks of rows, so that no W is held.

    Yields the name of the part (w, u, a), its first row, and the rows; a is one row.
    """
    stream, m = torch.Generator().manual_seed(seed), config.width
    scale_w, scale_u, scale_a = _scales(config, d)
    parts = (("w", m, m, scale_w), ("u", m, d, scale_u), ("a", 1, m, scale_a))
    for name, rows, length, scale in parts:
        for first in range(0, rows, BLOCK):
            block = torch.empty(min(BLOCK, rows - first), length, dtype=dtype)
            for row in block:
                _fill(row, scale, stream)
            yield name, first, block


def _scales(config: ModelConfig, d: int) -> tuple[float, float, float]:
    """Standard deviations of the entries of W, U and a."""
    m = config.width
    return (2 * config.sigma_w2 / m) ** 0.5, (2 / d) ** 0.5, config.sigma_a / m**0.5


def _fill(row: Tensor, scale: float, generator: torch.Generator) -> None:
    row.copy_(scale * torch.randn(row.shape[0], dtype=torch.float64, generator=generator))


class EquilibriumMap(Map):
    """q -> W phi(q) + P of a pack, P = U X; its fixed points are the pre-activations Q.

    Q = W Z + P with Z = phi(Q), so that both Z and the derivative mask D = phi'(Q) follow
    from Q. Samples are the rows of (B, n, m), and are multiplied with W^T.
    """

    def __init__(self, phi: Activation, w_bmm: Tensor, p_bnm: Tensor) -> None:
        self.phi, self.w, self.p = phi, w_bmm, p_bnm
        self.matrix = w_bmm.mT

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """Write W phi(x) + P to `out` and return it."""
        return self.image(self.argument(x), out)

    def argument(self, x: Tensor) -> Tensor:
        """Return phi(x), which W is multiplied with."""
        return self.phi.function(x)

    def image(self, z: Tensor, out: Tensor) -> Tensor:
        """Write W z + P to `out` and return it."""
        return torch.baddbmm(self.p, z, self.matrix, out=out)

    def at(self, rows: Tensor) -> "EquilibriumMap":
        """Return the map of these samples only; rows (B, k)."""
        return EquilibriumMap(self.phi, self.w, take(self.p, rows))

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> W (phi'(x) * v)."""
        mask = self.phi.derivative(x)
        return lambda v: torch.bmm(mask * v, self.w.mT)


class AdjointMap(Map):
    """v -> a + W^T (D * v) of a pack; its fixed points are the adjoints V.

    It does not depend on the error yhat - y, so V changes as slowly as the weights.
    """

    def __init__(self, w_bmm: Tensor, a_bm: Tensor, mask_bnm: Tensor) -> None:
        self.w, self.a, self.mask = w_bmm, a_bm, mask_bnm
        self.matrix, self.constant = w_bmm, a_bm[:, None, :]

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """Write a + W^T (D * x) to `out` and return it."""
        return self.image(self.argument(x), out)

    def argument(self, x: Tensor) -> Tensor:
        """Return D * x, which W^T is multiplied with."""
        return self.mask * x

    def image(self, z: Tensor, out: Tensor) -> Tensor:
        """Write a + W^T z to `out` and return it."""
        return torch.baddbmm(self.constant, z, self.matrix, out=out)

    def at(self, rows: Tensor) -> "AdjointMap":
        """Return the map of these samples only; rows (B, k)."""
        return AdjointMap(self.w, self.a, take(self.mask, rows))

    def slope(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> W^T (D * v)."""
        del x
        return lambda v: torch.bmm(self.mask * v, self.w)
