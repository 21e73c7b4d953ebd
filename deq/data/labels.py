"""Labels that replace a data set's own; docs/theory.md, sections 8 and 16."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform_labels(seed: int, counts: Sequence[int]) -> Tensor:
    """Draw labels y ~ U(0, 1), float64, one part after the other.

    They are those of public code for figure 1 of Ling et al. The stream is another than that of
    inputs drawn with the same seed.

    Args:
        seed: of the draw.
        counts: sizes of the parts; a part does not depend on those after it.
    """
    stream = _stream(f"labels {seed}")
    parts = [torch.rand(count, dtype=torch.float64, generator=stream) for count in counts]
    return torch.cat(parts)


def index_direction(seed: int, d: int) -> Tensor:
    """Draw beta (d,) float64 of a single-index model, uniform on the unit sphere."""
    stream = _stream(f"single_index {seed}")
    beta = torch.randn(d, dtype=torch.float64, generator=stream)
    unit: Tensor = beta / torch.linalg.vector_norm(beta)
    return unit


def single_index_labels(seed: int, x: Tensor) -> Tensor:
    """Return labels relu(beta . x), (k,), of inputs x (d, k) float64; see `index_direction`."""
    return (index_direction(seed, len(x)) @ x).clamp_min(0)


def _stream(name: str) -> torch.Generator:
    """Return a random number generator of its own for each name."""
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
