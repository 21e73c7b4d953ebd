"""The theorem's initial condition and step size, at the best delta.

Source: Ling et al. 2023, Theorem 1 and Lemma 8; docs/theory.md, section 3. The factors L and
|phi(0)| generalise Lemma 8's proof, which uses nothing of ReLU but its Lipschitz constant. For
a bounded phi, as the later versions of Truong 2023 assume, ||Z||_F <= sup|phi| sqrt(m n).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import ModelConfig
from deq.linalg.eigenvalues import greatest_eigenvalue, least_eigenvalue

# delta / (1/L - ||W||_2) is searched between sigmoid(-SEARCH) = 1e-13 and 1 - 1e-13.
_SEARCH = 30.0
# Points of the search's grid, spaced by _GAP on the scale log(delta / (room - delta)).
_GAP = 0.25
_GRID = [-_SEARCH + _GAP * k for k in range(int(2 * _SEARCH / _GAP) + 1)]
_GOLDEN = (math.sqrt(5) - 1) / 2
# Golden sections between grid points: each leaves 0.618 of the interval, and 60 leave 3e-13.
_SECTIONS = 60


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

    @functools.cached_property
    def error_norm(self) -> float:
        """||e(0)||_2."""
        return float(torch.linalg.vector_norm(self.error))

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
    """The theorem's conditions at one delta.

    A slack is left side / right side. Conditions (7) to (9) hold if theirs is at least 1, and
    (10), which is strict, if eta_limit / eta is above 1.

    Attributes:
        delta: the delta.
        slack_7, slack_8, slack_9: of conditions (7), (8), (9) as the papers state them.
        eta_limit: the right side of (10).
        c_a: C_a, which bounds ||Z||_F: the smaller of c_a_lipschitz and sup|phi| sqrt(m n).
        c_a_lipschitz: the papers' C_a, from the Lipschitz constant.
        square: C_w^2 + C_u^2.
    """

    delta: float
    slack_7: float
    slack_8: float
    slack_9: float
    eta_limit: float
    c_a: float
    c_a_lipschitz: float
    square: float

    @property
    def slack_9_strict(self) -> float:
        """Slack of (9) with 8 in place of 4, under which the direct proof gives the stated rate."""
        return self.slack_9 / 2

    @property
    def worst(self) -> float:
        """The least slack of (7), (8) and (9)."""
        return min(self.slack_7, self.slack_8, self.slack_9)

    @property
    def held(self) -> bool:
        """True if (7), (8) and (9) hold."""
        return self.worst >= 1

    def least(self, eta: float | None) -> float:
        """The least slack of (7) to (10) at step size eta; of (7) to (9) if eta is None."""
        return self.worst if eta is None else min(self.worst, self.eta_limit / eta)

    def held_at(self, eta: float) -> bool:
        """True if (7) to (10) hold at step size eta."""
        return self.held and eta < self.eta_limit


def initial_condition(
    network: DrawnNetwork, model: ModelConfig, eta: float | None = None
) -> InitialCondition | None:
    """Return the conditions at the delta in (0, 1/L - ||W(0)||_2) with the greatest least slack.

    If any delta satisfies the conditions, this one does. The search takes the best point of
    a grid on the scale log(delta / (room - delta)), which resolves both ends, and golden
    sections around it.

    Args:
        network: the network at t = 0.
        model: its activation and width.
        eta: the absolute step size; the least slack is that of (7) to (10). None if it is
            not known yet: that of (7) to (9).

    Returns:
        None if there is no such delta.
    """
    at = _by_scale(network, model)
    if at is None:
        return None
    best = max(_GRID, key=lambda s: at(s).least(eta))
    return _golden(at, (best - _GAP, best + _GAP), lambda c: c.least(eta))


def theorem_step(network: DrawnNetwork, model: ModelConfig) -> InitialCondition | None:
    """Return the conditions at the delta that allows the largest step size.

    Among the deltas that satisfy (7) to (9) it is the one with the greatest right side of
    (10). If none does it is the one with the greatest least slack of (7) to (9).

    Args:
        network: the network at t = 0.
        model: its activation and width.

    Returns:
        None if L ||W(0)||_2 >= 1, so that there is no delta.
    """
    at, safest = _by_scale(network, model), initial_condition(network, model)
    if at is None or safest is None or not safest.held:
        return safest
    room = _room(network, model)
    scales = [math.log(safest.delta / (room - safest.delta)), *_GRID]
    centre = max((s for s in scales if at(s).held), key=lambda s: at(s).eta_limit, default=None)
    if centre is None:  # rounding: `safest` meets the conditions with equality
        return safest
    ends = _last_held(at, centre, centre - _GAP), _last_held(at, centre, centre + _GAP)
    # Golden sections do not try the ends.
    choices = [_golden(at, ends, lambda c: c.eta_limit), safest, *(at(s) for s in (centre, *ends))]
    return max((c for c in choices if c.held), key=lambda c: c.eta_limit)


def _room(network: DrawnNetwork, model: ModelConfig) -> float:
    return 1 / activation(model.activation).lipschitz - network.norm_w


def _by_scale(
    network: DrawnNetwork, model: ModelConfig
) -> Callable[[float], InitialCondition] | None:
    """Return the conditions as a function of s = log(delta / (room - delta)); None without room."""
    room = _room(network, model)
    if room <= 0:
        return None
    return lambda s: condition_at(network, model, room / (1 + math.exp(-s)))


def _golden(
    at: Callable[[float], InitialCondition],
    interval: tuple[float, float],
    score: Callable[[InitialCondition], float],
) -> InitialCondition:
    """Return the conditions of the greatest score in an interval, by golden sections."""
    low, high = interval
    for _ in range(_SECTIONS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if score(at(left)) >= score(at(right)):
            high = right
        else:
            low = left
    return max(at(left), at(right), key=score)


def _last_held(at: Callable[[float], InitialCondition], inside: float, outside: float) -> float:
    """Return the last scale from `inside` towards `outside` at which (7) to (9) hold."""
    if at(outside).held:
        return outside
    for _ in range(_SECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if at(middle).held else (inside, middle)
    return inside


def condition_at(network: DrawnNetwork, model: ModelConfig, delta: float) -> InitialCondition:
    """Return the conditions at one delta; L (||W(0)||_2 + delta) must be below 1."""
    phi = activation(model.activation)
    lip, n = phi.lipschitz, network.gram.shape[0]
    rho_w, rho_u, rho_a = (v + delta for v in (network.norm_w, network.norm_u, network.norm_a))
    gap = 1 - lip * rho_w
    offset = abs(phi.at_zero) * math.sqrt(model.width * n)
    c_a_lipschitz = _ratio(lip * rho_u * network.norm_x + offset, gap)
    c_a = min(c_a_lipschitz, phi.bounded * math.sqrt(model.width * n))
    c_w = _ratio(c_a * lip * rho_a, gap)
    c_u = _ratio(network.norm_x * lip * rho_a, gap)
    square, error = c_w**2 + c_u**2, network.error_norm
    lambda_0 = max(network.lambda_0, 0.0)
    return InitialCondition(
        delta=delta,
        slack_7=_ratio(lambda_0, 4 / delta * max(c_w, c_u, c_a) * error),
        slack_8=_ratio(lambda_0**1.5, 4 * (2 + math.sqrt(2)) / rho_a * square * error),
        slack_9=_ratio(lambda_0, 4 * square),
        eta_limit=min(_ratio(2.0, lambda_0), _ratio(2 * square, (square + c_a**2) ** 2)),
        c_a=c_a,
        c_a_lipschitz=c_a_lipschitz,
        square=square,
    )


def _ratio(left: float, right: float) -> float:
    return left / right if right > 0 else math.inf
