"""Mini-batches: which samples the gradient of a step is taken over."""

import hashlib

import torch
from torch import Tensor


def batch_weights(seed: int, step: int, n: int, size: int) -> Tensor:
    """Return the weight of each sample in a step's gradient, (n,) float64.

    n / size for `size` samples, drawn without replacement, and 0 for the others: the mean
    over the draws is the full gradient. The draw depends on the seed and the step alone, so that
    an interrupted training continues with the same batches.

    Args:
        seed: of the trial.
        step: the GD step.
        n: number of samples.
        size: number of samples in the batch.
    """
    digest = hashlib.sha256(f"batch {seed} {step}".encode()).digest()
    stream = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
    weights = torch.zeros(n, dtype=torch.float64)
    weights[torch.randperm(n, generator=stream)[:size]] = n / size
    return weights
