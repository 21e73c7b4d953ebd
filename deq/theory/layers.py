"""Gram matrices of networks of finite depth, and their infinite-width limits.

Z^(0) = 0, Z^(l) = phi(W^(l) Z^(l-1) + U X). Source: Ling et al. 2023, whose proofs approach the
equilibrium by networks of depth l; docs/theory.md, section 10.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.theory.dual_activation import dual_activation
from deq.theory.kernels import gram
from deq.theory.population import input_scale

# |correlations| from here to 1 are 1, to rounding.
_ONE = 1 - 1e-15


def layer_limits(
    x: Tensor, phi: Activation, sigma_w2: float, start: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield K^(1), K^(2), ...: the limits of G^(l) / m as the width grows; (n, n) float64.

    q^(l) = 2 (sigma_w2 K_ii^(l-1) + s) and c_ij^(l) = 2 (sigma_w2 K_ij^(l-1) + x_i.x_j / d) are
    variance and covariances of the pre-activations, with s = ||x_i||^2 / d. The
    limit is the same for tied and for untied weights.

    Args:
        x: (d, n) float64 inputs, columns of one norm.
        phi: the activation.
        sigma_w2: variance parameter of W.
        start: K^(0), (n, n), with equal entries on its diagonal; 0 by default, as of Z^(0) = 0.

    Raises:
        ValueError: phi has a kink and no closed form.
    """
    similarity = (x.mT @ x) / x.shape[0]
    scale = input_scale(float(torch.linalg.vector_norm(x[:, 0])), x.shape[0])
    n, k = len(similarity), torch.zeros_like(similarity) if start is None else start
    off = ~torch.eye(n, dtype=torch.bool)
    while True:
        q = 2 * (sigma_w2 * float(k[0, 0]) + scale)
        c = 2 * (sigma_w2 * k + similarity)
        rho = float((c[off].abs().amax() / q).clamp_max(1.0)) if n > 1 else 0.0
        dual = dual_activation(phi, q, 1.0 if rho > _ONE else rho)
        k = dual.pair(c.clamp(-q, q))[0]
        k = torch.where(off, k, torch.full_like(k, dual.energy))
        yield k


def layer_grams(phi: Activation, p: Tensor, weights: Callable[[], Tensor]) -> Iterator[Tensor]:
    """Yield G^(1), G^(2), ... of a network; (n, n) float64.

    Args:
        phi: the activation.
        p: (m, n) U X.
        weights: returns W (m, m) of the next layer, from the second on.
    """
    z = phi.function(p)
    while True:
        yield gram(z)
        z = phi.function(torch.addmm(p, weights(), z))
