"""Explicit equivalents of K for nearly orthogonal inputs; docs/theory.md, section 14.

In high dimension the inputs of a Gaussian mixture are nearly orthogonal, and the fixed point
K_ij = f(cos_ij) is expanded at cos = 0. Source: Ling et al. 2024 for the question; El Karoui 2010
for the terms that count in spectral norm; the coefficients are derived here.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.activations.lookup import activation
from deq.config import ModelConfig
from deq.linalg.eigenvalues import greatest_eigenvalue, least_eigenvalue
from deq.theory.dual_activation import DualActivation, dual_activation
from deq.theory.population import Population

# Labels of more values than this are no classes.
MOST_CLASSES = 10
# Step of the difference that gives the second derivative, in units of the variance q.
_STEP = 1e-3
_MAX_STEPS = 200


@dataclass(frozen=True)
class Coefficients:
    """K_ij = constant + linear t + quadratic t^2 + O(t^3), t = cos(x_i, x_j); all are >= 0.

    Attributes:
        constant, linear, quadratic: of the powers of t.
        diagonal: K_ii, the sum of the coefficients of all powers.
    """

    constant: float
    linear: float
    quadratic: float
    diagonal: float

    def matrix(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """Return a_0 1 1^T + a_1 C + a_2 T + b I, (n, n), the equivalent in spectral norm.

        C are the cosines, T_ij is the mean of t^2 over the pairs of different samples of the
        classes of i and j, and b = K_ii - a_0 - a_1.

        Args:
            cosines: (n, n) cosines of the inputs.
            classes: (n,) class of each sample.
        """
        rest = self.diagonal - self.constant - self.linear
        eye = torch.eye(len(cosines), dtype=cosines.dtype)
        squares = _class_means(cosines.square(), classes)
        return self.constant + self.linear * cosines + self.quadratic * squares + rest * eye

    def shallow(self, cosines: Tensor) -> Tensor:
        """Return the kernel of an explicit network of one hidden layer, (n, n).

        Its activation is sqrt(a_0) + sqrt(a_1) h_1 + sqrt(a_2) h_2 + sqrt(a_3) h_3, h_r the
        normalised Hermite polynomials, a_3 = K_ii - a_0 - a_1 - a_2, and its pre-activations are
        standard Gaussians with correlation t.
        """
        rest = self.diagonal - self.constant - self.linear - self.quadratic
        return self.constant + cosines * (self.linear + cosines * (self.quadratic + cosines * rest))


def coefficients(limit: Population, phi: Activation, sigma_w2: float) -> Coefficients:
    """Return the coefficients of a population limit.

    With D = K_dot at c = 2 sigma_w2 f(0) and s = ||x_i||^2 / d they are f(0),
    s f'(0) = 2 s D / (1 - 2 sigma_w2 D) and s^2 f''(0) / 2 = 2 s^2 D' / (1 - 2 sigma_w2 D)^3.

    Args:
        limit: the population limit of any inputs of one norm.
        phi: its activation.
        sigma_w2: variance parameter of W.

    Raises:
        ValueError: phi has a kink and no closed form.
    """
    diagonal = float(limit.gram[0, 0])
    scale = limit.q / 2 - sigma_w2 * diagonal
    dual = dual_activation(phi, limit.q, 1.0)
    constant = _at_zero(dual, sigma_w2)
    slope, bend = _derivatives(dual, 2 * sigma_w2 * constant)
    gap = 1 - 2 * sigma_w2 * slope
    return Coefficients(
        constant=max(constant, 0.0),
        linear=max(2 * scale * slope / gap, 0.0),
        quadratic=max(2 * scale**2 * bend / gap**3, 0.0),
        diagonal=diagonal,
    )


def equivalent_numbers(limit: Population, model: ModelConfig, y: Tensor) -> dict[str, float]:
    """Return a trial's metrics of the equivalents of K.

    Args:
        limit: the population limit.
        model: its activation and sigma_w2.
        y: (n,) labels; the values of at most MOST_CLASSES are the classes.

    Raises:
        ValueError: phi has a kink and no closed form.
    """
    equivalent = coefficients(limit, activation(model.activation), model.sigma_w2)
    d, n = limit.x.shape
    unit = limit.x / torch.linalg.vector_norm(limit.x, dim=0)
    cosines = unit.mT @ unit
    matrix = equivalent.matrix(cosines, classes_of(y))
    return {
        "theory/equivalent_error": _spectral(limit.gram - matrix),
        "theory/equivalent_error_isotropic": 2 * math.sqrt(2 * n) / d * equivalent.quadratic,
        "theory/shallow_error": _spectral(limit.gram - equivalent.shallow(cosines)),
    }


def classes_of(y: Tensor) -> Tensor:
    """Return the class of each sample, (n,) from 0; all 0 if labels have too many values."""
    values, classes = torch.unique(y, return_inverse=True)
    return classes if len(values) <= MOST_CLASSES else torch.zeros_like(classes)


def _at_zero(dual: DualActivation, sigma_w2: float) -> float:
    """Solve f = K(2 sigma_w2 f), the entry of two orthogonal inputs, by iteration."""
    value = 0.0
    for _ in range(_MAX_STEPS):
        last, value = value, _pair(dual, 2 * sigma_w2 * value)[0]
        if abs(value - last) <= 1e-16 * dual.energy:
            break
    return value


def _derivatives(dual: DualActivation, c: float) -> tuple[float, float]:
    """Return K_dot(c) and its derivative, by two central differences that cancel h^2."""
    h = _STEP * dual.q
    wide, narrow = (
        (_pair(dual, c + step)[1] - _pair(dual, c - step)[1]) / (2 * step) for step in (2 * h, h)
    )
    return _pair(dual, c)[1], (4 * narrow - wide) / 3


def _pair(dual: DualActivation, c: float) -> tuple[float, float]:
    gram, gram_dot = dual.pair(torch.tensor([c], dtype=torch.float64))
    return float(gram[0]), float(gram_dot[0])


def _class_means(values: Tensor, classes: Tensor) -> Tensor:
    """Return for each entry the mean of `values` over the pairs i != j of the same two classes."""
    member = torch.nn.functional.one_hot(classes).to(values)
    off = 1 - torch.eye(len(values), dtype=values.dtype)
    pairs = member.mT @ off @ member
    means = member.mT @ (values * off) @ member / pairs.clamp_min(1.0)
    return member @ means @ member.mT


def _spectral(matrix: Tensor) -> float:
    return max(float(greatest_eigenvalue(matrix)), -float(least_eigenvalue(matrix)))
