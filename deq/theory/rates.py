"""Closed-form rates, and the loss curves of linearised gradient descent.

Everywhere rate = -(d/dt) log Phi, in nats per GD step. Source: docs/theory.md, section 6.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.block_steps import ONE_STEP, BlockSteps
from deq.theory.convergence import Initial
from deq.theory.heavy_ball import log_errors, modulus
from deq.theory.population import Population

# Steps whose modes are summed at once, so that memory does not grow with their number.
_CHUNK = 4096
# Rounding of 2 log|1 - eta h|, and of 2 eta h in units of n eta ||H||_2, with a margin of eight.
RATE_ROUNDING = 16 * torch.finfo(torch.float64).eps


def bound_rate(eta: float, lambda_0: float) -> float | None:
    """Return -log(1 - eta lambda_0 / 2), the theorem's rate; None if the bound is void."""
    x = eta * lambda_0 / 2
    return -math.log1p(-x) if 0 < x < 1 else None


def asymptotic_rate(eta: float, h: float, momentum: float = 0.0) -> float | None:
    """Return -2 log|1 - eta h|, the rate of a mode of eigenvalue h; None if it does not decay.

    With momentum the factor 1 - eta h is replaced by `heavy_ball.modulus`.
    """
    factor = modulus(eta, h, momentum) if momentum else abs(1 - eta * h)
    if h <= 0 or not 0 < factor < 1:
        return None
    return -2 * math.log(factor)


def effective_eigenvalue(eta: float, rate: float) -> float:
    """Return (1 - exp(-rate / 2)) / eta, the eigenvalue of H whose mode decays at this rate."""
    return -math.expm1(-rate / 2) / eta


@dataclass(frozen=True)
class LinearDynamics:
    """Gradient descent on a linearised model, in which the modes of H decay independently.

    Attributes:
        eigenvalues: (n,) float64, h_k of H, ascending.
        squares: (n,) float64, c_k^2, the squared error in each mode at t = 0.
        eta: the step size.
        momentum: beta of heavy ball.
    """

    eigenvalues: Tensor
    squares: Tensor
    eta: float
    momentum: float = 0.0

    @property
    def rounding(self) -> float:
        """Rounding of a mode's rate, nats per GD step: that of 1 - eta h and of h itself.

        Eigenvalues are right to a few times n eps ||H||_2.
        """
        greatest = float(self.eigenvalues.abs().amax())
        return RATE_ROUNDING * (1 + len(self.eigenvalues) * self.eta * greatest)

    @classmethod
    def of_network(cls, initial: Initial, eta: float, momentum: float = 0.0) -> "LinearDynamics":
        """Return the dynamics of a network: H(0) = sum_k h_k u_k u_k^T, c_k = u_k.e(0)."""
        h, u = torch.linalg.eigh(initial.tangent)
        return cls(h, (u.mT @ initial.error) ** 2, eta, momentum)

    @classmethod
    def of_population(
        cls,
        limit: Population,
        y: Tensor,
        width: int,
        sigma_a: float,
        eta: float,
        momentum: float = 0.0,
        steps: BlockSteps = ONE_STEP,
    ) -> "LinearDynamics":
        """Return the dynamics of the infinite-width limit, with the expectation of c_k^2.

        yhat(0) has mean zero and covariance sigma_a^2 K over the draw of a, so that
        E[c_k^2] = (u_k.y)^2 + sigma_a^2 u_k^T K u_k with the eigenvectors u_k of H_inf.
        The curve is the mean loss of wide networks; a single network deviates by its own
        e(0), even at infinite width.

        Args:
            limit: the population limit.
            y: (n,) targets.
            width: m, of which H_inf is a function.
            sigma_a: scale of the output weights.
            eta: absolute step size.
            momentum: beta of heavy ball.
            steps: factors of the step size of W, U and a.
        """
        h, u = torch.linalg.eigh(limit.tangent(width, steps))
        variance = sigma_a**2 * ((limit.gram @ u) * u).sum(0).clamp_min(0)
        return cls(h, (u.mT @ y.double()) ** 2 + variance, eta, momentum)

    def log_loss(self, steps: Tensor) -> Tensor:
        """Return log Phi_lin(t) = log 1/2 sum_k (1 - eta h_k)^{2t} c_k^2; (T,).

        With momentum (1 - eta h_k)^t is replaced by the solution of the heavy ball's recursion.
        Summed as logarithms, so that values below the least float do not vanish.

        Args:
            steps: (T,) float64, the GD steps t.
        """
        decay = 2 * torch.log((1 - self.eta * self.eigenvalues).abs())
        parts = []
        for part in torch.split(steps, _CHUNK):
            # 0^0 = 1: at t = 0 a mode with 1 - eta h = 0 counts.
            if self.momentum:
                moved = 2 * log_errors(self.eta, self.eigenvalues, self.momentum, part)
            else:
                moved = torch.nan_to_num(part[:, None] * decay, nan=0.0)
            exponents = moved + self.squares.log()
            parts.append(torch.logsumexp(exponents, dim=1))
        return torch.cat(parts) - math.log(2)

    def steps_to(self, loss: float, most: int) -> int | None:
        """Return the first step with Phi_lin(t) <= loss Phi_lin(0); None if above `most`.

        log Phi_lin is convex in t (a logsumexp of lines), also if eta h_k > 2 makes it rise
        in the end. Bisection finds its minimum, then the step before the minimum. With momentum the
        loss may oscillate, and the step is one at which it passes the target.
        """
        if loss >= 1:
            return 0

        def value(t: int) -> float:
            return float(self.log_loss(torch.tensor([t], dtype=torch.float64)))

        target = value(0) + math.log(loss)
        least = most if self.momentum else _first(lambda t: value(t + 1) >= value(t), most)
        if not value(least) <= target:  # true for NaN as well
            return None
        return _first(lambda t: value(t) <= target, least)


def _first(holds: Callable[[int], bool], most: int) -> int:
    """Return the first t in 0 .. most for which a monotone predicate is true; else `most`."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
