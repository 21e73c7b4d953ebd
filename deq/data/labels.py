"""Uniform labels, those of public code for figure 1 of Ling et al.; docs/theory.md, section 8."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform_labels(seed: int, counts: Sequence[int]) -> Tensor:
    """Draw labels y ~ U(0, 1), float64, one part after the other.

    The stream is another than that of inputs drawn with the same seed.

    Args:
        seed: of the draw.
        counts: sizes of the parts; a part does not depend on those after it.
    """
    digest = hashlib.sha256(f"labels {seed}".encode()).digest()
    stream = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
    parts = [torch.rand(count, dtype=torch.float64, generator=stream) for count in counts]
    return torch.cat(parts)
