"""The dual activation of phi at a variance, by closed form or series, with error bounds.

Source: docs/theory.md, section 4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deq.activations.activation import DUAL_UNITS, Activation, rounding
from deq.activations.bounded_error import bounded_rules
from deq.activations.builtin import is_own
from deq.activations.duals import Dual
from deq.activations.validation import check_dual
from deq.theory.hermite import hermite_series

_SERIES_TOL = 1e-14
_UNITS = 8  # of rounding, of a series or of a built-in closed form


@dataclass(frozen=True)
class DualActivation:
    """K(c) = E[phi(u) phi(v)] and K_dot(c) = E[phi'(u) phi'(v)], variances q, covariance c.

    Attributes:
        q: the variance of u and of v.
        pair: c to (K(c), K_dot(c)), float64, entrywise. K_dot is the derivative of K.
        energy: K(q) = E[phi(u)^2].
        energy_dot: K_dot(q) = E[phi'(u)^2], the greatest |K_dot(c)|.
        error: bound on the error of K, at |c| <= q rho and c = q.
        error_dot: bound on the error of K_dot.
    """

    q: float
    pair: Callable[[Tensor], tuple[Tensor, Tensor]]
    energy: float
    energy_dot: float
    error: float
    error_dot: float

    def modulus_dot(self, rho: float, shift: float) -> float:
        """Bound the change of K_dot when a correlation in [-rho, rho] changes by `shift`.

        K_dot is a power series in the correlation with coefficients >= 0, so its slope
        is greatest at the upper end, and below that of the chord from there to 1. This
        includes ReLU, whose slope is infinite at 1.
        """
        end = min(rho, 1 - shift)
        at_end = self.pair(torch.tensor(self.q * end, dtype=torch.float64))[1]
        chord = self.energy_dot - float(at_end)
        return max(chord, 0.0) / (1 - end) * shift + self.error_dot


def dual_activation(phi: Activation, q: float, rho: float) -> DualActivation:
    """Return the closed form if there is one, else Hermite series, for |c| <= q rho and c = q.

    The error bounds are the series' truncation and quadrature, plus eight units of rounding;
    a user's closed form is checked at q, and counts as many as it was checked to.

    Args:
        phi: the activation.
        q: variance of u and of v.
        rho: greatest |correlation| at which it will be evaluated.

    Raises:
        ValueError: phi has a kink and no closed form, or an own closed form is wrong at q.
    """
    own = is_own(phi)
    if phi.dual is not None:
        if own:
            check_dual(phi, q)
        exact = _closed_form(phi.dual, q)
    elif phi.smooth or math.isfinite(phi.curvature):
        exact = _series(phi, q, rho, own=own)
    else:
        raise ValueError(
            f"no population limit of {phi.name}: it has a kink, so its Hermite series "
            "converges too slowly to be of use: give the Activation a closed-form dual"
        )
    unit, unit_dot = rounding(phi, q, exact.energy, exact.energy_dot)
    units = DUAL_UNITS if own and phi.dual is not None else _UNITS
    return replace(
        exact, error=exact.error + units * unit, error_dot=exact.error_dot + units * unit_dot
    )


def _closed_form(dual: Dual, q: float) -> DualActivation:
    """Evaluate the closed form; its error bounds do not include rounding."""
    energy, energy_dot = dual(q, torch.tensor(q, dtype=torch.float64))
    return DualActivation(q, lambda c: dual(q, c), float(energy), float(energy_dot), 0.0, 0.0)


def _series(phi: Activation, q: float, rho: float, *, own: bool) -> DualActivation:
    """Sum the Hermite series; their error bounds do not include rounding.

    Of a user's own activation only L and M are known, so they bound the quadrature's error.
    """
    rule, rule_dot = bounded_rules(phi, q) if own and phi.curvature < math.inf else (None, None)
    series = hermite_series(phi.function, q, rho, _SERIES_TOL, rule=rule)
    series_dot = hermite_series(phi.derivative, q, rho, _SERIES_TOL, rule=rule_dot)

    def pair(c: Tensor) -> tuple[Tensor, Tensor]:
        return series.dual(c / q), series_dot.dual(c / q)

    errors = series.error(rho), series_dot.error(rho)
    return DualActivation(q, pair, series.energy, series_dot.energy, *errors)
