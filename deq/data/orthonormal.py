"""Orthonormal inputs, as in public code for Ling et al., figure 1; docs/theory.md, section 8."""

import torch
from torch import Tensor

from deq.data.config import OrthonormalConfig


def draw_orthonormal(config: OrthonormalConfig) -> tuple[Tensor, Tensor]:
    """Return unit vectors x (d, k) and targets y (k,) ~ N(0, 1); the held-out samples are last."""
    generator = torch.Generator().manual_seed(config.seed)
    parts = [
        torch.randn(count, dtype=torch.float64, generator=generator)
        for count in (config.n, config.test_n)
    ]
    y = torch.cat(parts)
    return torch.eye(config.d, len(y), dtype=torch.float64), y
