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
