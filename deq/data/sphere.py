"""The synthetic set of Ling et al., figure 1."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deq.data.dataset import check_n


@dataclass(frozen=True)
class SphereConfig:
    """Ling et al.'s synthetic set: uniform on the sphere of radius sqrt(d), y ~ N(0, 1).

    The set has a seed of its own, so that trials of several seeds share it.

    Attributes:
        name: the data set.
        n: how many samples.
        d: their dimension.
        seed: of the draw.
    """

    name: Literal["sphere"] = "sphere"
    n: int = 64
    d: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an empty set."""
        check_n(self.n)
        if self.d < 2:
            raise ValueError(f"d must be at least 2, not {self.d}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 .. 2**63 - 1, not {self.seed}")


def draw_sphere(config: SphereConfig) -> tuple[Tensor, Tensor]:
    """Directions x (d, n), not yet normalised, and targets y (n,)."""
    generator = torch.Generator().manual_seed(config.seed)
    x = torch.randn(config.d, config.n, dtype=torch.float64, generator=generator)
    return x, torch.randn(config.n, dtype=torch.float64, generator=generator)
