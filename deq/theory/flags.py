"""Flags: whether what the theorem states held at every step of a trajectory.

Flags are 1.0 (held) and 0.0 (did not). Source: Ling et al. 2023, Theorem 1; docs/theory.md,
section 3.
"""

import math

import torch
from torch import Tensor

from deq.theory.convergence import Initial

# Multiple of a loss's evaluation error above which it counts.
FLOOR_MARGIN = 100.0

# Numbers by metric name, and why others are missing.
Numbers = tuple[dict[str, float], dict[str, str]]


def bound_flags(trajectory: dict[str, Tensor], log_floor: Tensor) -> Numbers:
    """Return theory/bound_violation and theory/bound_held.

    The violation is max over t >= 1 of log Phi(t) - log Phi(0) - t log(1 - eta lambda_0 / 2)
    over the steps above the numerical floor. The bound held if at no such step this excess
    is above the error of the two logarithms, 2 (r_t + r_0) with r = sqrt(Phi_error / Phi)
    the relative error of yhat - y, plus rounding of t log(1 - eta lambda_0 / 2).

    Args:
        trajectory: columns loss and log_loss_bound, (T,).
        log_floor: (T,) log of FLOOR_MARGIN times Phi_error, the loss that evaluation
            errors alone can cause.
    """
    log_loss, log_bound = trajectory["loss"].log(), trajectory["log_loss_bound"]
    if bool(log_bound.isnan().all()):
        return {}, {"theory/bound_held": "there is no bound: see rate/bound"}
    resolved = ~(log_loss <= log_floor)  # true for NaN
    resolved[0] = False
    if not bool(resolved.any()):
        why = "no step after the first was measured above the numerical floor"
        return {}, dict.fromkeys(("theory/bound_held", "theory/bound_violation"), why)
    relative = torch.exp((log_floor - math.log(FLOOR_MARGIN) - log_loss) / 2)
    rounding = 4 * torch.finfo(torch.float64).eps * (log_bound - log_bound[0]).abs()
    excess = (log_loss - log_bound)[resolved]
    held = excess <= (2 * (relative + relative[0]) + rounding)[resolved]
    return {
        "theory/bound_violation": float(excess.amax()),
        "theory/bound_held": float(bool(held.all())),
    }, {}


def weight_flags(trajectory: dict[str, Tensor], initial: Initial, lipschitz: float) -> Numbers:
    """Return theory/lambda_ratio_min, theory/lambda_held, theory/well_posed_held.

    lambda_held: lambda_t >= lambda_0 / 2 at every measured step; well_posed_held:
    L ||W(t)||_2 < 1 at every measured step. Neither has a tolerance; a value close to its
    limit shows in theory/lambda_ratio_min and spectrum/norm_w. A trial that was measured at
    t = 0 only, since it ended soon after, says nothing of training: its flags are absent.

    Args:
        trajectory: columns lambda_min_gram and norm_w, (T,), NaN where not measured.
        initial: the network at t = 0, for lambda_0.
        lipschitz: L.
    """
    summary: dict[str, float] = {}
    notes: dict[str, str] = {}
    norms, lambdas = _measured(trajectory["norm_w"]), _measured(trajectory["lambda_min_gram"])
    if len(norms) > 1:
        summary["theory/well_posed_held"] = float(lipschitz * float(norms.amax()) < 1)
    else:
        notes["theory/well_posed_held"] = _unmeasured("||W||_2", norms)
    if initial.resolved and len(lambdas) > 1:
        ratio = float(lambdas.amin()) / initial.lambda_0
        summary["theory/lambda_ratio_min"] = ratio
        summary["theory/lambda_held"] = float(ratio >= 0.5)
    else:
        why = _unmeasured("lambda_min(G)", lambdas)
        if not initial.resolved:
            why = "lambda_0 is not above 0, up to rounding"
        notes["theory/lambda_ratio_min"] = notes["theory/lambda_held"] = why
    return summary, notes


def _unmeasured(name: str, values: Tensor) -> str:
    return f"{name} was measured {'at t = 0 only' if len(values) else 'nowhere'}"


def _measured(column: Tensor) -> Tensor:
    return column[~column.isnan()]
