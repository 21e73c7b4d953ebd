"""Fit of a rate to a trajectory: its window, its slope, its standard error.

Everywhere rate = -(d/dt) log Phi, in nats per GD step. Source: docs/theory.md, section 6.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deq.theory.rates import asymptotic_rate

# A fit over fewer points, or with a smaller R^2, gives no rate.
MIN_POINTS = 10
MIN_R2 = 0.9
# A window is straight if its local slope varies by at most this share of the slope (one
# standard deviation), or by no more than noise explains.
STRAIGHT = 0.003
# Possible starts of the window, as shares of the last step above the floor.
STARTS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
# Share of the steps above the floor at which the end begins.
END = 0.9
# Greatest lag-one correlation of noise; residuals above it follow from the curve's shape.
CORRELATED = 0.95
# A change of log Phi over a window is rounding if it is at most this share of max(1, |log Phi|):
# the loss is a sum, and one of some thousand terms is right to some thousand eps.
RESOLUTION = 4096 * torch.finfo(torch.float64).eps
# Standard errors above zero from which a curvature is significant.
SIGNIFICANT = 2.0


@dataclass(frozen=True)
class RateFit:
    """A rate fitted to log Phi by least squares.

    Attributes:
        rate: minus the slope, nats per GD step; None if there is no rate.
        stderr: its standard error, the root of the sum of two squares. Noise: the usual
            error times sqrt((1 + r) / (1 - r)), r the residuals' lag-one autocorrelation;
            three times it cover the true slope in 97 of 100 cases if the window has 10
            (1 + r) / (1 - r) points or more. Bend: the standard deviation of the local
            slope over the window, where curvature is significant. A training loss is a sum
            of exponentials with hardly any noise: there the bend dominates and tells how
            far the rate is from constant; local rates of a parabola are within sqrt(3) of it.
        r2: share of the variance of log Phi, without its alternating part, that the line
            explains.
        oscillation: amplitude of the alternating part of log Phi, in nats; near the
            stability limit the fastest mode changes sign at every step.
        start, stop: first and last GD step of the window.
        reason: why there is no rate; empty otherwise.
    """

    rate: float | None = None
    stderr: float | None = None
    r2: float | None = None
    oscillation: float | None = None
    start: int | None = None
    stop: int | None = None
    reason: str = ""


def fit_rate(steps: Tensor, log_loss: Tensor, log_floor: Tensor) -> RateFit:
    """Fit a line and a period-two part to log Phi above its numerical floor.

    The window ends at the last step before log Phi first reaches the floor. It starts at
    half that step, or later, up to three quarters, if only then it is straight (an early
    transient is cut off). If it is straight nowhere, the window is the last half. The rate
    is the mean over the window.

    Args:
        steps: (T,) float64, ascending.
        log_loss: (T,) log Phi; -inf where the loss is exactly zero.
        log_floor: (T,) log of the loss below which rounding and the solver's tolerance
            dominate.
    """
    bad = (log_loss.isnan() | (log_loss == math.inf)).nonzero()
    if len(bad):
        return RateFit(reason=f"the loss is not finite at step {int(steps[bad[0]])}")
    above = log_loss > log_floor
    usable = len(above) if bool(above.all()) else int((~above).nonzero()[0])
    if usable == 0:
        return RateFit(reason="the loss is at the numerical floor")
    t, y = steps[:usable], log_loss[:usable]
    if int((t >= t[-1] / 2).sum()) < MIN_POINTS:
        return RateFit(reason=f"fewer than {MIN_POINTS} steps above the numerical floor")
    window, line = _straightest(t, y)
    start, stop = int(t[window][0]), int(t[-1])
    fit = RateFit(-line.slope, line.stderr, line.r2, line.oscillation, start, stop)
    if line.slope >= 0:
        reason = "the loss does not fall over the window"
    elif not is_resolved(line.slope, t[window], y[window]):
        fall = -line.slope * (stop - start)
        reason = f"over the window log loss falls by {fall:.1g}, which is rounding"
    elif line.r2 < MIN_R2:
        reason = f"log loss is no straight line over the window (R^2 = {line.r2:.2f})"
    else:
        return fit
    return replace(fit, rate=None, stderr=None, reason=reason)


def window_rate(steps: Tensor, log_loss: Tensor, start: float, stop: float) -> float | None:
    """Fit the rate of a predicted curve over a given window, as `fit_rate` does.

    Args:
        steps: (T,) GD steps.
        log_loss: (T,) log Phi of the curve.
        start: first GD step of the window.
        stop: last GD step of the window.

    Returns:
        Nats per GD step; None if the window has fewer than four points or the curve is not
        finite there.
    """
    window = (steps >= start) & (steps <= stop)
    if int(window.sum()) < 4 or not bool(log_loss[window].isfinite().all()):
        return None
    return -_line(steps[window], log_loss[window]).slope


def is_resolved(rate: float, steps: Tensor, log_loss: Tensor, per_step: float = 0.0) -> bool:
    """Return whether a rate over a window is more than the rounding of log Phi there.

    Args:
        rate: nats per GD step.
        steps: (T,) GD steps of the window.
        log_loss: (T,) log Phi.
        per_step: rounding of the rate itself, nats per GD step.
    """
    scale = max(1.0, float(log_loss.abs().amax()))
    return abs(rate) > max(RESOLUTION * scale / float(steps[-1] - steps[0]), per_step)


def end_rates(
    eta: float,
    trajectory: dict[str, Tensor],
    fit: RateFit,
    momentum: float = 0.0,
    rounding: float = 0.0,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return rates at the end of a fit's window, by metric name, and why they are missing.

    rate/measured_end is the fit over the last tenth of the steps above the floor,
    rate/asymptotic_end is -2 log(1 - eta lambda_min(H)) of the H last measured there. They
    meet once only the slowest mode is left. The second is missing where lambda_min(H) is 0 up to
    rounding, as it is for more samples than weights.

    Args:
        eta: absolute step size.
        trajectory: columns step, loss and lambda_min_tangent, (T,).
        fit: of the whole trajectory, with a window.
        momentum: beta of heavy ball.
        rounding: of a mode's rate, nats per GD step.
    """
    assert fit.stop is not None, "the fit has no window"
    steps, least = trajectory["step"], trajectory["lambda_min_tangent"]
    rate = window_rate(steps, trajectory["loss"].log(), END * fit.stop, fit.stop)
    known = least[(steps <= fit.stop) & ~least.isnan()]
    limit = asymptotic_rate(eta, float(known[-1]), momentum) if len(known) else None
    if rate is None:
        return {}, {"rate/measured_end": "too few steps at the end of the fit's window"}
    if limit is None or limit <= rounding:
        why = "lambda_min(H) at the end of the fit's window is 0 up to rounding, or no mode decays"
        return {"rate/measured_end": rate}, {"rate/asymptotic_end": why}
    return {
        "rate/measured_end": rate,
        "rate/asymptotic_end": limit,
        "rate/measured_end_over_asymptotic": rate / limit,
    }, {}


@dataclass(frozen=True)
class _Line:
    slope: float
    noise: float  # standard error of the slope from noise alone
    bend: float  # standard deviation of the local slope over the window
    bend_noise: float  # what noise alone would make `bend`, one standard error
    r2: float
    oscillation: float

    @property
    def straight(self) -> bool:
        return self.bend <= max(STRAIGHT * abs(self.slope), SIGNIFICANT * self.bend_noise)

    @property
    def stderr(self) -> float:
        significant = max(self.bend**2 - (SIGNIFICANT * self.bend_noise) ** 2, 0.0)
        return math.sqrt(self.noise**2 + significant)


def _straightest(t: Tensor, y: Tensor) -> tuple[Tensor, _Line]:
    """Return the first straight window, or else the last half, and its line."""
    whole = t >= STARTS[0] * t[-1]
    half = _line(t[whole], y[whole])
    window, line = whole, half
    for share in STARTS[1:]:
        if line.straight:
            return window, line
        window = t >= share * t[-1]
        if int(window.sum()) < 2 * MIN_POINTS:
            break
        line = _line(t[window], y[window])
    return (window, line) if line.straight else (whole, half)


def _line(t: Tensor, y: Tensor) -> _Line:
    """Fit y by least squares with (-1)^t, a line, and a parabola orthogonal to the line.

    Orthogonal, so that the line's slope is the mean slope over the window.
    """
    half = float(t[-1] - t[0]) / 2
    s = (t - (t[0] + t[-1]) / 2) / half  # -1 .. 1
    powers = torch.stack([s**k for k in range(3)], dim=1)
    basis, triangle = torch.linalg.qr(powers)
    parity = 1.0 - 2.0 * (t.round() % 2)
    columns = torch.column_stack([basis, parity])
    inverse = torch.linalg.pinv(columns, rtol=1e-9)  # parity may be constant
    fitted = inverse @ y
    variance, is_noise = _variance(y - columns @ fitted)
    deviation = (variance * (inverse**2).sum(1)).sqrt()
    plain = y - fitted[-1] * parity
    left, spread = plain - basis[:, :2] @ fitted[:2], plain - plain.mean()
    total = float(spread @ spread)
    per_line = 1 / (float(triangle[1, 1]) * half)
    # y = c s^2 has the local slope 2 c s / half, of standard deviation 2 c / (half sqrt 3).
    per_parabola = abs(2 / (float(triangle[2, 2]) * half * math.sqrt(3)))
    rounding = 8 * torch.finfo(torch.float64).eps * float(y.abs().amax()) / half
    return _Line(
        slope=float(fitted[1]) * per_line,
        noise=math.hypot(float(deviation[1]) * per_line, rounding),
        bend=abs(float(fitted[2])) * per_parabola,
        bend_noise=float(deviation[2]) * per_parabola if is_noise else 0.0,
        r2=1 - float(left @ left) / total if total > 0 else 0.0,
        oscillation=abs(float(fitted[-1])),
    )


def _variance(residual: Tensor) -> tuple[float, bool]:
    """Return the noise's variance times w = (1 + r) / (1 - r), and whether it is noise.

    r is the residuals' lag-one autocorrelation. Residuals of a fit are smaller and less
    correlated than the noise: for N points and p = 4 regressors r is too low by
    (p + 3 r) / N to first order (Marriott and Pope 1954 for p = 1), and the sum of squares
    is that of N - p w free points.
    """
    count, square = len(residual), float(residual @ residual)
    if square == 0:
        return 0.0, True
    r = float(residual[1:] @ residual[:-1]) / square
    r = max(r + (4 + 3 * r) / count, 0.0)
    w = (1 + min(r, CORRELATED)) / (1 - min(r, CORRELATED))
    return square * w / max(count - 4 * w, count / 10), r < CORRELATED
