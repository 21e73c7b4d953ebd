"""The infinite-width limit: population Gram matrix K and tangent kernel.

Source: Ling et al. 2023 and Truong 2023 for K and lambda_star, Feng and Kolter for the
tangent kernel; docs/theory.md, sections 4 and 5.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.activations.builtin import is_own
from deq.activations.gaussian import rule_for
from deq.activations.lookup import activation as lookup
from deq.block_steps import ONE_STEP, BlockSteps
from deq.config import ModelConfig
from deq.linalg.eigenvalues import least_eigenvalue
from deq.theory.dual_activation import DualActivation, dual_activation
from deq.theory.hermite import gaussian_energy

# The fixed point of q is a contraction with factor 2 sigma_w2 L sqrt(E / q) < 1/2, which
# takes at most 50 steps; more are needed above the well-posedness limit of sigma_w2.
_MAX_STEPS = 2000
_MAX_NEWTON = 50
_CHUNK = 2**14  # pairs solved at once, so that the series' data stays in cache
# Multiple of its error bound from which lambda_star counts: its first digit is right.
MARGIN = 10.0
# Relative difference of a column's norm from the right one that is accepted.
_NORM = 1e-9
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Population:
    """The limits of G/m, B and H/m as the width m grows.

    Attributes:
        x: (d, n) float64 inputs, columns of one norm.
        q: variance of the pre-activations, q = 2 (sigma_w2 E[phi(sqrt(q) g)^2] + s), with
            s = ||x_i||^2 / d, 1 in the papers.
        gram: (n, n) K, the limit of Z^T Z / m.
        gram_dot: (n, n) K_dot = E[phi'(u) phi'(v)] at the same covariance.
        backward: (n, n) B_inf = sigma_a^2 K_dot / (1 - 2 sigma_w2 K_dot), entrywise.
        lambda_star: lambda_min(K).
        error: bound on the error of each entry of `gram`.
        error_dot: bound on the error of each entry of `gram_dot`.
        error_backward: bound on the error of each entry of `backward`.
    """

    x: Tensor
    q: float
    gram: Tensor
    gram_dot: Tensor
    backward: Tensor
    lambda_star: float
    error: float
    error_dot: float
    error_backward: float

    @property
    def lambda_star_error(self) -> float:
        """Bound on the error of lambda_star: n times `error` (Weyl), and eigh's n eps tr(K)."""
        n = self.x.shape[1]
        return n * (self.error + _EPS * float(self.gram.diagonal().sum()))

    @property
    def resolved(self) -> bool:
        """True if lambda_star exceeds its error bound MARGIN times."""
        return self.lambda_star > MARGIN * self.lambda_star_error

    def tangent(self, width: int, steps: BlockSteps = ONE_STEP) -> Tensor:
        """Return H_inf = m K * (f_a + f_w B_inf) + (X^T F_u X) * B_inf at width m; (n, n).

        Args:
            width: m.
            steps: factors of the step size, see `kernels.tangent`.
        """
        inputs = steps.inputs(self.x.mT @ self.x)
        return width * self.gram * (steps.a + steps.w * self.backward) + inputs * self.backward


def limit_of(model: ModelConfig, x: Tensor) -> Population:
    """Return the population limit of a model for inputs x (d, n) of whatever common norm.

    Raises:
        ValueError: as `population`.
    """
    norm = float(torch.linalg.vector_norm(x[:, 0]))
    return population(
        x, model.activation, sigma_w2=model.sigma_w2, sigma_a=model.sigma_a, norm=norm
    )


def population(
    x: Tensor,
    activation: str | Activation,
    *,
    sigma_w2: float,
    sigma_a: float = 1.0,
    norm: float | None = None,
) -> Population:
    """Return the population limit for inputs x and an activation.

    K_ij = E[phi(u) phi(v)], (u, v) centred Gaussian with variances q and covariance
    c_ij = 2 (sigma_w2 K_ij + x_i.x_j / d): one scalar fixed point for each pair.

    Args:
        x: (d, n) float64, columns of one norm.
        activation: a name or an Activation.
        sigma_w2: variance parameter of W, W_ij ~ N(0, 2 sigma_w2 / m).
        sigma_a: scale of the output weights, a_i ~ N(0, sigma_a^2 / m).
        norm: that norm; None: sqrt(d).

    Raises:
        ValueError: x is not float64 with columns of this norm; the activation is
            kinked and has no closed-form dual; or the fixed points do not exist
            (sigma_w2 far past the well-posedness limit).
    """
    phi = lookup(activation) if isinstance(activation, str) else activation
    similarity, scale = _similarity(x, norm)
    n = len(similarity)
    upper = similarity[tuple(torch.triu_indices(n, n, offset=1))]
    q = _variance(phi, sigma_w2, scale)
    rho = _greatest_correlation(upper, q, scale)
    dual = dual_activation(phi, q, rho)
    gain = 2 * sigma_w2 * dual.energy_dot
    if gain >= 1:
        raise ValueError(
            f"the population limit does not exist at sigma_w2={sigma_w2}: "
            f"2 sigma_w2 E[phi'^2] = {gain:.3g} must be below 1"
        )
    grams, grams_dot, residuals = zip(
        *(_solve(dual, part, sigma_w2) for part in torch.split(upper, _CHUNK)), strict=True
    )
    gram = _symmetric(torch.cat(grams), dual.energy, n)
    gram_dot = _symmetric(torch.cat(grams_dot), dual.energy_dot, n)
    error, error_dot, most = _errors(phi, dual, sigma_w2, rho, max(residuals), x.shape[0], scale)
    return Population(
        x=x,
        q=q,
        gram=gram,
        gram_dot=gram_dot,
        backward=sigma_a**2 * gram_dot / (1 - 2 * sigma_w2 * gram_dot),
        lambda_star=float(least_eigenvalue(gram)),
        error=error,
        error_dot=error_dot,
        error_backward=sigma_a**2 * error_dot / (1 - most) ** 2 if most < 1 else math.inf,
    )


def input_scale(norm: float, d: int) -> float:
    """Return s = norm^2 / d; exactly 1 for a norm of sqrt(d), up to rounding."""
    return 1.0 if abs(norm - d**0.5) <= _NORM * d**0.5 else norm**2 / d


def _similarity(x: Tensor, norm: float | None) -> tuple[Tensor, float]:
    """Check x and return x_i.x_j / d of its columns, (n, n), and s = ||x_i||^2 / d."""
    if x.dtype != torch.float64 or x.ndim != 2 or not x.numel():
        raise ValueError(f"x must be a float64 matrix (d, n), not {x.dtype} {tuple(x.shape)}")
    norms, d = torch.linalg.vector_norm(x, dim=0), x.shape[0]
    right = d**0.5 if norm is None else norm
    worst = int((norms - right).abs().argmax())
    if not abs(float(norms[worst]) - right) <= _NORM * right:  # true for NaN as well
        wanted = "sqrt(d) = " if norm is None else ""
        raise ValueError(
            f"column {worst} of x has norm {float(norms[worst]):.6g}, "
            f"not {wanted}{right:.6g}: normalise the inputs"
        )
    unit, scale = x / norms, input_scale(right, d)
    return torch.clamp(unit.mT @ unit, -1.0, 1.0) * scale, scale


def _greatest_correlation(upper: Tensor, q: float, scale: float) -> float:
    """Bound |c_ij| / q by q - |c_ij| >= 2 (s - |x_i.x_j| / d), which follows from K_ii >= |K_ij|.

    Args:
        upper: x_i.x_j / d of all pairs.
        q: variance of the pre-activations.
        scale: s.
    """
    closest = float(upper.abs().amax()) if len(upper) else 0.0
    return min(1.0, max(0.0, 1 - 2 * (scale - closest) / q))


def _variance(phi: Activation, sigma_w2: float, scale: float) -> float:
    """Solve q = 2 (sigma_w2 E[phi(sqrt(q) g)^2] + s) by iteration of the contraction."""
    q = before = 2.0 * scale
    for _ in range(_MAX_STEPS):
        q, before = 2 * (sigma_w2 * _energy(phi, q) + scale), q
        if abs(q - before) <= 2 * _EPS * q:
            break
    if not math.isfinite(q) or abs(q - before) > 1e-9 * q:
        raise ValueError(f"the population variance q does not exist at sigma_w2={sigma_w2}")
    return q


def _energy(phi: Activation, q: float) -> float:
    """Return E[phi(sqrt(q) g)^2], g ~ N(0, 1)."""
    if phi.dual is not None:
        return float(phi.dual(q, torch.tensor(q, dtype=torch.float64))[0])
    return gaussian_energy(phi.function, q)


def _energy_slope(phi: Activation, q: float) -> float:
    """Return d/dq E[phi(sqrt(q) g)^2] = E[phi(u) phi'(u) u] / q, to 1e-9 or better."""
    if phi.dual is not None:
        step = 1e-5 * q
        return (_energy(phi, q + step) - _energy(phi, q - step)) / (2 * step)
    rule, root = rule_for([phi.function, phi.derivative], q), math.sqrt(q)
    return rule.mean(lambda g: phi.function(root * g) * phi.derivative(root * g) * g) / root


def _solve(
    dual: DualActivation, similarity: Tensor, sigma_w2: float
) -> tuple[Tensor, Tensor, float]:
    """Solve c = 2 (sigma_w2 K(c) + similarity) by Newton's method.

    K' = K_dot, so the residual's slope lies within 1 +- gain.

    Returns:
        K(c), K_dot(c), and the greatest remaining residual.
    """
    c = 2 * similarity
    for _ in range(_MAX_NEWTON):
        gram, gram_dot = dual.pair(c)
        residual = c - 2 * (sigma_w2 * gram + similarity)
        if not bool((residual.abs() > 4 * _EPS * dual.q).any()):
            break
        c = (c - residual / (1 - 2 * sigma_w2 * gram_dot)).clamp(-dual.q, dual.q)
    return gram, gram_dot, float(residual.abs().amax()) if len(c) else 0.0


def _symmetric(upper: Tensor, diagonal: float, n: int) -> Tensor:
    """Return the symmetric (n, n) matrix with this strict upper triangle and diagonal."""
    full = torch.zeros(n, n, dtype=torch.float64)
    full[tuple(torch.triu_indices(n, n, offset=1))] = upper
    return full + full.mT + diagonal * torch.eye(n, dtype=torch.float64)


def _errors(
    phi: Activation,
    dual: DualActivation,
    sigma_w2: float,
    rho: float,
    residual: float,
    d: int,
    scale: float,
) -> tuple[float, float, float]:
    """Bound the errors of the entries of K and of K_dot, and 2 sigma_w2 E[phi'^2].

    A fixed point amplifies its map's error by 1 / (1 - gain). At a fixed correlation the
    derivative of K by q is at most L sqrt(E / q), and that of K_dot at most L^2 / q (couple
    the two Gaussians; the variation of the density). At a fixed covariance the correlation
    changes too, which adds E_dot to K's. A cosine of d terms is rounded by (d + 4) eps at
    most, and so is a scale s that is not 1, relative to it.
    """
    q, lipschitz = dual.q, phi.lipschitz
    energy, energy_dot, slope = _greatest(phi, dual)
    gain, gain_q = 2 * sigma_w2 * energy_dot, 2 * sigma_w2 * slope
    if gain >= 1:
        return math.inf, math.inf, gain
    rounding = (d + 4) * _EPS * scale
    error_q = abs(q - 2 * (sigma_w2 * dual.energy + scale)) + 2 * sigma_w2 * dual.error
    error_q = (error_q + 2 * _EPS * q + (0.0 if scale == 1.0 else 2 * rounding)) / (
        1 - min(gain_q, 0.999)
    )
    at_c = dual.error + (lipschitz * (energy / q) ** 0.5 + energy_dot) * error_q
    error_c = (residual + 2 * rounding + 2 * sigma_w2 * at_c) / (1 - gain)
    shift = (error_c + error_q) / q + _EPS
    error_dot = dual.modulus_dot(rho, shift) + lipschitz**2 / q * error_q
    return at_c + energy_dot * error_c, error_dot, gain


def _greatest(phi: Activation, dual: DualActivation) -> tuple[float, float, float]:
    """Return E, E_dot and dE/dq for the bounds: an own activation's at their greatest.

    Its averages are not exact to rounding, so that dE/dq <= L sqrt(E / q) is used.
    """
    if not is_own(phi):
        return dual.energy, dual.energy_dot, _energy_slope(phi, dual.q)
    energy = dual.energy + dual.error
    energy_dot = min(dual.energy_dot + dual.error_dot, phi.lipschitz**2)
    return energy, energy_dot, phi.lipschitz * (energy / dual.q) ** 0.5
