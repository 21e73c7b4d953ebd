"""The theorem's initial condition, at the best delta.

Source: Ling et al. 2023, Theorem 1 and Lemma 8; docs/theory.md, section 3. The factors L and
|phi(0)| generalise Lemma 8's proof, which uses nothing of ReLU but its Lipschitz constant.
"""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import ModelConfig
from deq.linalg.eigenvalues import greatest_eigenvalue, least_eigenvalue

# delta / (1/L - ||W||_2) is searched between sigmoid(-SEARCH) = 1e-13 and 1 - 1e-13.
_SEARCH = 30.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# Golden sections of the search: each leaves 0.618 of the interval, and 70 leave 2e-13.
_SECTIONS = 70


@dataclass(frozen=True)
class DrawnNetwork:
    """Quantities of a drawn network in conditions (7) to (9).

    Attributes:
        gram: (n, n) float64, G(0).
        error: (n,) float64, e(0) = yhat(0) - y.
        norm_w, norm_u, norm_a: ||W||_2, ||U||_2, ||a||_2.
        norm_x: ||X||_F.
    """

    gram: Tensor
    error: Tensor
    norm_w: float
    norm_u: float
    norm_a: float
    norm_x: float

    @functools.cached_property
    def lambda_0(self) -> float:
        """lambda_min(G(0))."""
        return float(least_eigenvalue(self.gram))

    @property
    def resolved(self) -> bool:
        """True if lambda_0 exceeds the eigenvalues' rounding, n eps ||G(0)||_2."""
        rounding = torch.finfo(torch.float64).eps * self.gram.shape[0]
        return self.lambda_0 > rounding * float(greatest_eigenvalue(self.gram))


@dataclass(frozen=True)
class Initial(DrawnNetwork):
    """Quantities of a network at t = 0 that the theory needs.

    Attributes:
        tangent: (n, n) float64, H(0).
    """

    tangent: Tensor


@dataclass(frozen=True)
class InitialCondition:
    """The theorem's conditions at the delta with the greatest least slack of (7) to (9).

    A slack is left side / right side; the condition holds if it is at least 1. If any delta
    satisfies (7) to (9), this one does.

    Attributes:
        delta: the best delta.
        slack_7, slack_8, slack_9: of conditions (7), (8), (9).
        eta_limit: the right side of (10).
    """

    delta: float
    slack_7: float
    slack_8: float
    slack_9: float
    eta_limit: float

    @property
    def worst(self) -> float:
        """The least slack of (7), (8) and (9)."""
        return min(self.slack_7, self.slack_8, self.slack_9)

    @property
    def held(self) -> bool:
        """True if (7), (8) and (9) hold."""
        return self.worst >= 1


def initial_condition(network: DrawnNetwork, model: ModelConfig) -> InitialCondition | None:
    """Return the conditions at the best delta in (0, 1/L - ||W(0)||_2); None if that is empty.

    The least slack has a single maximum: as functions of delta (8) and (9) fall, and (7)
    rises and then falls, because delta d/d(delta) log of each of its terms falls; the
    minimum of such functions is again such a function. Golden sections therefore find it,
    on the scale log(delta / (room - delta)), which resolves both ends.

    Args:
        network: the network at t = 0.
        model: its activation and width.
    """
    room = 1 / activation(model.activation).lipschitz - network.norm_w
    if room <= 0:
        return None

    def at(s: float) -> InitialCondition:
        return condition_at(network, model, room / (1 + math.exp(-s)))

    low, high = -_SEARCH, _SEARCH
    for _ in range(_SECTIONS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if at(left).worst >= at(right).worst:
            high = right
        else:
            low = left
    return max(at(left), at(right), key=lambda c: c.worst)


def condition_at(network: DrawnNetwork, model: ModelConfig, delta: float) -> InitialCondition:
    """Return the conditions at one delta; L (||W(0)||_2 + delta) must be below 1."""
    phi = activation(model.activation)
    lip, n = phi.lipschitz, network.gram.shape[0]
    rho_w, rho_u, rho_a = (v + delta for v in (network.norm_w, network.norm_u, network.norm_a))
    gap = 1 - lip * rho_w
    offset = abs(phi.at_zero) * math.sqrt(model.width * n)
    c_a = _ratio(lip * rho_u * network.norm_x + offset, gap)
    c_w = _ratio(c_a * lip * rho_a, gap)
    c_u = _ratio(network.norm_x * lip * rho_a, gap)
    square = c_w**2 + c_u**2
    error = float(torch.linalg.vector_norm(network.error))
    lambda_0 = max(network.lambda_0, 0.0)
    return InitialCondition(
        delta=delta,
        slack_7=_ratio(lambda_0, 4 / delta * max(c_w, c_u, c_a) * error),
        slack_8=_ratio(lambda_0**1.5, 4 * (2 + math.sqrt(2)) / rho_a * square * error),
        slack_9=_ratio(lambda_0, 4 * square),
        eta_limit=min(_ratio(2.0, lambda_0), _ratio(2 * square, (square + c_a**2) ** 2)),
    )


def _ratio(left: float, right: float) -> float:
    return left / right if right > 0 else math.inf
