"""Random networks and tensors for tests."""

import torch

from deq.models.equilibrium import draw_pack


def random(*shape, seed=0):
    """A float64 tensor of normal numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def first_network(model, seed, d):
    """W (m, m), U (m, d), a (m,) in float64: the first network of a seed."""
    stream = torch.Generator().manual_seed(seed)
    parts = draw_pack([model], [stream], d, dtype=torch.float64, device=torch.device("cpu"))
    return tuple(part[0] for part in parts)
