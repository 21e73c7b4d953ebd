"""The synthetic data set of Ling et al., figure 1; docs/theory.md, section 8."""

import torch
from torch import Tensor

from deq.data.config import SphereConfig


def draw_sphere(config: SphereConfig) -> tuple[Tensor, Tensor]:
    """Draw directions x (d, k), not normalised, and targets y (k,); N(0, 1) entries.

    The held-out samples are the last of the k, and are drawn last.
    """
    generator = torch.Generator().manual_seed(config.seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    parts = [(draw(config.d, n), draw(n)) for n in (config.n, config.test_n)]
    x, y = zip(*parts, strict=True)
    return torch.cat(x, dim=1), torch.cat(y)
