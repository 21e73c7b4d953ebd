"""The infinite-width limit: population Gram matrix K and tangent kernel.

Source: Ling et al. 2023 and Truong 2023 for K and lambda_star, Feng and Kolter for the
tangent kernel; THEORY sections 4 and 5.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations import Activation
from deq.activations import activation as lookup
from deq.hermite import gaussian_mean, hermite_series
from deq.spectrum import least_eigenvalue

# The fixed points are contractions with factor 2 sigma_w2 L^2 < 1/4: 200 steps reach
# rounding with room to spare, also a little past the well-posedness limit.
_MAX_STEPS = 200
_SERIES_TOL = 1e-13
_ROUNDING = 4e-15

Kernel = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Population:
    """What G/m, B and H/m tend to as the width m grows.

    Attributes:
        x: (d, n) float64 inputs, columns of norm sqrt(d).
        q: variance of the pre-activations, q = 2 (sigma_w2 E[phi(sqrt(q) g)^2] + 1).
        gram: (n, n) K, the limit of Z^T Z / m.
        gram_dot: (n, n) K_dot = E[phi'(u) phi'(v)] at the same covariance.
        backward: (n, n) B_inf = sigma_a^2 K_dot / (1 - 2 sigma_w2 K_dot), entrywise.
        lambda_star: lambda_min(K).
        error: bound on the error of each entry of `gram`.
    """

    x: Tensor
    q: float
    gram: Tensor
    gram_dot: Tensor
    backward: Tensor
    lambda_star: float
    error: float

    @property
    def resolved(self) -> bool:
        """Whether lambda_star exceeds its own error bound, n times `error` (Weyl)."""
        return self.lambda_star > self.x.shape[1] * self.error

    def tangent(self, width: int) -> Tensor:
        """H_inf = m K * (1 + B_inf) + (X^T X) * B_inf at width m; (n, n)."""
        return width * self.gram * (1 + self.backward) + (self.x.mT @ self.x) * self.backward


def population(
    x: Tensor, activation: str | Activation, *, sigma_w2: float, sigma_a: float = 1.0
) -> Population:
    """The population limit for inputs x and an activation.

    K_ij = E[phi(u) phi(v)], (u, v) centred Gaussian with variances q and covariance
    c_ij = 2 (sigma_w2 K_ij + x_i.x_j / d): one scalar fixed point for each pair.

    Args:
        x: (d, n) float64, columns of norm sqrt(d).
        activation: a name or an Activation.
        sigma_w2: variance parameter of W, W_ij ~ N(0, 2 sigma_w2 / m).
        sigma_a: scale of the output weights, a_i ~ N(0, sigma_a^2 / m).

    Raises:
        ValueError: x is not float64 with columns of norm sqrt(d), or the fixed points
            do not converge (sigma_w2 far past the well-posedness limit).
    """
    phi = lookup(activation) if isinstance(activation, str) else activation
    _check_inputs(x)
    n = x.shape[1]
    similarity = x.mT @ x / x.shape[0]
    eye = torch.eye(n, dtype=torch.bool)
    closest = float(similarity.masked_fill(eye, 0.0).abs().amax())
    q = _variance(phi, sigma_w2)
    # q - c >= 2 (1 - x_i.x_j / d), since K increases with c: no pair is closer.
    dual = _dual_pair(phi, q, rho=min(1.0, max(0.0, 1 - 2 * (1 - closest) / q)))
    covariance = _covariance(dual.gram, similarity, q, sigma_w2)
    gram = dual.gram(covariance)
    gram_dot = dual.gram_dot(covariance)
    gram[eye], gram_dot[eye] = dual.energy, dual.energy_dot
    gain = 2 * sigma_w2 * dual.energy_dot
    if gain >= 1:
        raise ValueError(
            f"the population limit does not exist at sigma_w2={sigma_w2}: "
            f"2 sigma_w2 E[phi'^2] = {gain:.3g} must be below 1"
        )
    return Population(
        x=x,
        q=q,
        gram=gram,
        gram_dot=gram_dot,
        backward=sigma_a**2 * gram_dot / (1 - 2 * sigma_w2 * gram_dot),
        lambda_star=float(least_eigenvalue(gram)),
        error=(dual.error + _ROUNDING * dual.energy) / (1 - gain),
    )


@dataclass(frozen=True)
class _Dual:
    """Dual activations of phi and phi' as functions of the covariance, at variance q."""

    gram: Kernel
    gram_dot: Kernel
    energy: float  # E[phi(u)^2]
    energy_dot: float  # E[phi'(u)^2]
    error: float  # what `gram` may leave out, off the diagonal


def _dual_pair(phi: Activation, q: float, rho: float) -> _Dual:
    """The closed form where there is one, else Hermite series exact up to |c| = q rho."""
    closed = phi.dual
    if closed is not None:
        whole, whole_dot = closed(q, torch.tensor(q, dtype=torch.float64))
        return _Dual(
            lambda c: closed(q, c)[0],
            lambda c: closed(q, c)[1],
            float(whole),
            float(whole_dot),
            0.0,
        )
    series = hermite_series(phi.function, q, rho, _SERIES_TOL)
    series_dot = hermite_series(phi.derivative, q, rho, _SERIES_TOL)
    return _Dual(
        lambda c: series.dual(c / q),
        lambda c: series_dot.dual(c / q),
        series.energy,
        series_dot.energy,
        series.error(rho),
    )


def _variance(phi: Activation, sigma_w2: float) -> float:
    """q = 2 (sigma_w2 E[phi(sqrt(q) g)^2] + 1), by iteration of the contraction."""
    q = 2.0
    for _ in range(_MAX_STEPS):
        q, before = 2 * (sigma_w2 * _energy(phi, q) + 1), q
        if abs(q - before) <= 1e-15 * q:
            break
    if not math.isfinite(q) or abs(q - before) > 1e-9 * q:
        raise ValueError(f"the population variance q does not exist at sigma_w2={sigma_w2}")
    return q


def _energy(phi: Activation, q: float) -> float:
    """E[phi(sqrt(q) g)^2]."""
    if phi.dual is not None:
        return float(phi.dual(q, torch.tensor(q, dtype=torch.float64))[0])
    return gaussian_mean(lambda g: phi.function(q**0.5 * g) ** 2)


def _covariance(gram: Kernel, similarity: Tensor, q: float, sigma_w2: float) -> Tensor:
    """c_ij = 2 (sigma_w2 K(c_ij) + x_i.x_j / d) for all pairs at once."""
    c = 2 * similarity
    for _ in range(_MAX_STEPS):
        c, before = (2 * (sigma_w2 * gram(c) + similarity)).clamp(-q, q), c
        if float((c - before).abs().amax()) <= 1e-15 * q:
            break
    return c


def _check_inputs(x: Tensor) -> None:
    if x.dtype != torch.float64 or x.ndim != 2:
        raise ValueError(f"x must be a float64 matrix (d, n), not {x.dtype} {tuple(x.shape)}")
    norms = torch.linalg.vector_norm(x, dim=0)
    worst = int((norms - x.shape[0] ** 0.5).abs().argmax())
    if abs(float(norms[worst]) - x.shape[0] ** 0.5) > 1e-9 * x.shape[0] ** 0.5:
        raise ValueError(
            f"column {worst} of x has norm {float(norms[worst]):.6g}, "
            f"not sqrt(d) = {x.shape[0] ** 0.5:.6g}: normalise the inputs"
        )
