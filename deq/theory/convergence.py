"""The theorem's initial condition, at the delta that makes it best.

Source: Ling et al. 2023, Theorem 1 and Lemma 8; docs/theory.md, section 3. The factors L and
|phi(0)| generalise Lemma 8's proof, which uses nothing of ReLU but its Lipschitz constant.
"""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.config import ModelConfig
from deq.linalg.eigenvalues import greatest_eigenvalue, least_eigenvalue
from deq.models.activations import activation

# delta / (1/L - ||W||_2) is searched between sigmoid(-SEARCH) = 1e-13 and 1 - 1e-13.
_SEARCH = 30.0
_GOLDEN = (math.sqrt(5) - 1) / 2
# Golden sections of the search: each keeps 0.618, and 70 leave 2e-13 of it.
_SECTIONS = 70


@dataclass(frozen=True)
class Drawn:
    """What conditions (7) to (9) read of a drawn network.

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
        """Whether lambda_0 is above the eigenvalues' rounding, n eps ||G(0)||_2."""
        rounding = torch.finfo(torch.float64).eps * self.gram.shape[0]
        return self.lambda_0 > rounding * float(greatest_eigenvalue(self.gram))


@dataclass(frozen=True)
class Initial(Drawn):
    """What the theory reads of a network at t = 0.

    Attributes:
        tangent: (n, n) float64, H(0).
    """

    tangent: Tensor


@dataclass(frozen=True)
class InitialCondition:
    """The theorem's conditions at the delta that makes the worst of (7) to (9) best.

    A slack is left side / right side; the condition holds where it is at least 1. Some
    delta satisfies all of (7) to (9) exactly when this one does.

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

    @property
    def worst(self) -> float:
        """The least slack of (7), (8) and (9)."""
        return min(self.slack_7, self.slack_8, self.slack_9)

    @property
    def held(self) -> bool:
        """Whether (7), (8) and (9) hold."""
        return self.worst >= 1


def initial_condition(drawn: Drawn, model: ModelConfig) -> InitialCondition | None:
    """The conditions at the best delta in (0, 1/L - ||W(0)||_2); None when that is empty.

    The worst slack has one maximum: as functions of delta (8) and (9) fall, and
    delta d/d(delta) log of each term of (7) falls, so that (7) rises and then falls; the
    least of such functions is again one. Golden sections therefore find it, on the scale
    log(delta / (room - delta)) that resolves both ends.
    """
    room = 1 / activation(model.activation).lipschitz - drawn.norm_w
    if room <= 0:
        return None

    def at(s: float) -> InitialCondition:
        return condition_at(drawn, model, room / (1 + math.exp(-s)))

    low, high = -_SEARCH, _SEARCH
    for _ in range(_SECTIONS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if at(left).worst >= at(right).worst:
            high = right
        else:
            low = left
    return max(at(left), at(right), key=lambda c: c.worst)


def condition_at(drawn: Drawn, model: ModelConfig, delta: float) -> InitialCondition:
    """The conditions at one delta; L (||W(0)||_2 + delta) must be below 1."""
    phi = activation(model.activation)
    lip, n = phi.lipschitz, drawn.gram.shape[0]
    rho_w, rho_u, rho_a = (v + delta for v in (drawn.norm_w, drawn.norm_u, drawn.norm_a))
    gap = 1 - lip * rho_w
    offset = abs(phi.at_zero) * math.sqrt(model.width * n)
    c_a = _ratio(lip * rho_u * drawn.norm_x + offset, gap)
    c_w = _ratio(c_a * lip * rho_a, gap)
    c_u = _ratio(drawn.norm_x * lip * rho_a, gap)
    square = c_w**2 + c_u**2
    error = float(torch.linalg.vector_norm(drawn.error))
    lambda_0 = max(drawn.lambda_0, 0.0)
    return InitialCondition(
        delta=delta,
        slack_7=_ratio(lambda_0, 4 / delta * max(c_w, c_u, c_a) * error),
        slack_8=_ratio(lambda_0**1.5, 4 * (2 + math.sqrt(2)) / rho_a * square * error),
        slack_9=_ratio(lambda_0, 4 * square),
        eta_limit=min(_ratio(2.0, lambda_0), _ratio(2 * square, (square + c_a**2) ** 2)),
    )


def _ratio(left: float, right: float) -> float:
    return left / right if right > 0 else math.inf
