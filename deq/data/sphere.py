"""The synthetic data set of Ling et al., figure 1; docs/theory.md, section 8."""

import torch
from torch import Tensor

from deq.data.config import SphereConfig


def draw_sphere(config: SphereConfig) -> tuple[Tensor, Tensor]:
    """Draw directions x (d, n), not normalised, and targets y (n,); N(0, 1) entries."""
    generator = torch.Generator().manual_seed(config.seed)
    x = torch.randn(config.d, config.n, dtype=torch.float64, generator=generator)
    return x, torch.randn(config.n, dtype=torch.float64, generator=generator)
