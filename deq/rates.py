"""Rates: the bound's, the linearised prediction's, and the one fitted to a trajectory.

Everywhere rate = -(d/dt) log Phi, in nats per GD step. Source: THEORY section 6.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.convergence import Initial

# A fit over fewer points, or one that explains less, is not called a rate.
MIN_POINTS = 10
MIN_R2 = 0.9


def bound_rate(eta: float, lambda_0: float) -> float | None:
    """-log(1 - eta lambda_0 / 2), the theorem's rate; None when the bound is void."""
    x = eta * lambda_0 / 2
    return -math.log1p(-x) if 0 < x < 1 else None


def asymptotic_rate(eta: float, h: float) -> float | None:
    """-2 log|1 - eta h| of one mode of eigenvalue h; None when it does not decay."""
    factor = abs(1 - eta * h)
    if h <= 0 or not 0 < factor < 1:
        return None
    return -2 * math.log(factor)


def linearized_log_loss(initial: Initial, eta: float, steps: Tensor) -> Tensor:
    """log Phi_lin(t) = log 1/2 sum_k (1 - eta h_k)^{2t} c_k^2 at the given steps; (T,).

    H(0) = sum_k h_k u_k u_k^T and c_k = u_k.e(0). Summed in logarithms, so that a curve
    that falls below the least float is still a curve.
    """
    h, u = torch.linalg.eigh(initial.tangent)
    logs = 2 * torch.log((u.mT @ initial.error).abs())
    decay = 2 * torch.log((1 - eta * h).abs())
    # At t = 0 a mode with 1 - eta h = 0 still counts: 0^0 = 1.
    exponents = torch.nan_to_num(steps[:, None] * decay, nan=0.0) + logs
    return torch.logsumexp(exponents, dim=1) - math.log(2)


@dataclass(frozen=True)
class RateFit:
    """A rate fitted to log Phi by least squares.

    Attributes:
        rate: minus the slope, nats per GD step; None when there is no rate.
        stderr: its standard error, widened for the residuals' autocorrelation.
        r2: share of the variance of log Phi that the line explains.
        start, stop: first and last step of the window.
        reason: why there is no rate; empty otherwise.
    """

    rate: float | None
    stderr: float | None
    r2: float | None
    start: int | None
    stop: int | None
    reason: str = ""


def fit_rate(steps: Tensor, log_loss: Tensor, log_floor: Tensor) -> RateFit:
    """Fit the last half of what lies above the numerical floor.

    The window ends at the last step before log Phi first touches the floor, and begins
    at half that step, past the early transient.

    Args:
        steps: (T,) float64, rising.
        log_loss: (T,) log Phi.
        log_floor: (T,) log of the loss below which rounding and the solver's
            tolerance, not training, decide.
    """
    above = log_loss > log_floor
    usable = len(above) if bool(above.all()) else int((~above).nonzero()[0])
    if usable == 0:
        return RateFit(None, None, None, None, None, "the loss is at the numerical floor")
    stop = float(steps[usable - 1])
    window = (steps >= stop / 2) & (steps <= stop)
    t, y = steps[window], log_loss[window]
    if len(t) < MIN_POINTS:
        why = f"fewer than {MIN_POINTS} steps above the numerical floor"
        return RateFit(None, None, None, None, None, why)
    start, end = int(t[0]), int(t[-1])
    slope, stderr, r2 = _line(t, y)
    if slope >= 0:
        return RateFit(None, None, r2, start, end, "the loss does not fall over the window")
    if r2 < MIN_R2:
        why = f"log loss is no straight line over the window (R^2 = {r2:.2f})"
        return RateFit(None, None, r2, start, end, why)
    return RateFit(-slope, stderr, r2, start, end)


def window_rate(steps: Tensor, log_loss: Tensor, fit: RateFit) -> float | None:
    """The rate of another curve over the very window of a fit; None without a window."""
    if fit.start is None or fit.stop is None:
        return None
    window = (steps >= fit.start) & (steps <= fit.stop)
    slope, _, _ = _line(steps[window], log_loss[window])
    return -slope if math.isfinite(slope) else None


def _line(t: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Slope, its standard error and R^2 of the least-squares line.

    The error is the usual one times sqrt((1 + r) / (1 - r)), r the lag-one
    autocorrelation of the residuals where positive: the points of a smooth curve are
    not independent.
    """
    tc, yc = t - t.mean(), y - y.mean()
    spread = float((tc**2).sum())
    slope = float((tc * yc).sum()) / spread
    residual = yc - slope * tc
    error, total = float((residual**2).sum()), float((yc**2).sum())
    r = float((residual[1:] * residual[:-1]).sum()) / error if error > 0 else 0.0
    widen = (1 + min(max(r, 0.0), 0.999)) / (1 - min(max(r, 0.0), 0.999))
    stderr = math.sqrt(error / (len(t) - 2) / spread * widen)
    return slope, stderr, 1 - error / total if total > 0 else 0.0
