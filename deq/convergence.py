"""The theorem's condition and bound, the linearised prediction, and the fitted rate.

Everywhere rate = -(d/dt) log Phi, in nats per GD step. Source: Ling et al. 2023,
Theorem 1; THEORY sections 3 and 6.
"""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations import activation
from deq.model import ModelConfig
from deq.spectrum import least_eigenvalue

# A fit over fewer points, or one that explains less, is not called a rate.
MIN_POINTS = 10
MIN_R2 = 0.9


@dataclass(frozen=True)
class Initial:
    """What the theory reads of a network at t = 0.

    Attributes:
        gram: (n, n) float64, G(0).
        tangent: (n, n) float64, H(0).
        error: (n,) float64, e(0) = yhat(0) - y.
        norm_w, norm_u, norm_a: ||W||_2, ||U||_2, ||a||_2.
        norm_x: ||X||_F.
    """

    gram: Tensor
    tangent: Tensor
    error: Tensor
    norm_w: float
    norm_u: float
    norm_a: float
    norm_x: float

    @functools.cached_property
    def lambda_0(self) -> float:
        """lambda_min(G(0))."""
        return float(least_eigenvalue(self.gram))


@dataclass(frozen=True)
class InitialCondition:
    """The theorem's conditions at the delta that makes the worst of (7) to (9) best.

    A slack is left side / right side; the condition holds where it is at least 1.

    Attributes:
        delta: the delta searched out.
        slack_7, slack_8, slack_9: of conditions (7), (8), (9).
        eta_limit: the right side of (10).
    """

    delta: float
    slack_7: float
    slack_8: float
    slack_9: float
    eta_limit: float


def initial_condition(initial: Initial, model: ModelConfig) -> InitialCondition | None:
    """Search delta over (0, 1/L - ||W(0)||_2); None when L ||W(0)||_2 >= 1."""
    phi = activation(model.activation)
    room = 1 / phi.lipschitz - initial.norm_w
    if room <= 0:
        return None
    fractions = torch.cat([torch.logspace(-6, -1, 200), torch.linspace(0.1, 0.999, 200)])
    conditions = (_at_delta(initial, model, room * f) for f in fractions.double().tolist())
    return max(conditions, key=lambda c: min(c.slack_7, c.slack_8, c.slack_9))


def _at_delta(initial: Initial, model: ModelConfig, delta: float) -> InitialCondition:
    phi = activation(model.activation)
    lip, n = phi.lipschitz, initial.gram.shape[0]
    rho_w, rho_u, rho_a = (v + delta for v in (initial.norm_w, initial.norm_u, initial.norm_a))
    gap = 1 - lip * rho_w
    offset = abs(phi.at_zero) * math.sqrt(model.width * n)
    c_a = (lip * rho_u * initial.norm_x + offset) / gap
    c_w = c_a * lip * rho_a / gap
    c_u = initial.norm_x * lip * rho_a / gap
    square = c_w**2 + c_u**2
    error = float(torch.linalg.vector_norm(initial.error))
    lambda_0 = max(initial.lambda_0, 0.0)
    return InitialCondition(
        delta=delta,
        slack_7=_ratio(lambda_0, 4 / delta * max(c_w, c_u, c_a) * error),
        slack_8=_ratio(lambda_0**1.5, 4 * (2 + math.sqrt(2)) / rho_a * square * error),
        slack_9=_ratio(lambda_0, 4 * square),
        eta_limit=min(_ratio(2.0, lambda_0), 2 * square / (square + c_a**2) ** 2),
    )


def _ratio(left: float, right: float) -> float:
    return left / right if right > 0 else math.inf


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
