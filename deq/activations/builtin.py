"""The built-in activations."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deq.activations import duals, elementwise
from deq.activations.activation import Activation
from deq.activations.constants import KINKED, LIPSCHITZ

ACTIVATIONS: dict[str, Activation] = {}


def is_own(phi: Activation) -> bool:
    """True if an activation is none of the built-in ones."""
    return ACTIVATIONS.get(phi.name) is not phi


def _add(
    name: str,
    function: Callable[[Tensor], Tensor],
    derivative: Callable[[Tensor], Tensor],
    curvature: float,
    **others: Any,
) -> None:
    """Add an activation; phi(0) = 0 unless stated otherwise."""
    others = {"at_zero": 0.0, "smooth": name not in KINKED} | others
    ACTIVATIONS[name] = Activation(name, function, derivative, LIPSCHITZ[name], curvature, **others)


_add("relu", torch.relu, elementwise.relu_derivative, math.inf, dual=duals.relu)
_add(
    "leaky_relu",
    elementwise.leaky_relu,
    elementwise.leaky_relu_derivative,
    math.inf,
    dual=duals.leaky_relu(elementwise.LEAKY_SLOPE),
)
_add("identity", elementwise.identity, torch.ones_like, 0.0, polynomial=True, dual=duals.identity)
_add(
    "tanh",
    elementwise.tanh,
    elementwise.tanh_derivative,
    4 / (3 * math.sqrt(3)),  # at tanh(x)^2 = 1/3
    derivative_of_value=elementwise.tanh_derivative_of_value,
    bounded=1.0,
)
_add(
    "sigmoid",
    torch.sigmoid,
    elementwise.sigmoid_derivative,
    1 / (6 * math.sqrt(3)),  # at (2s - 1)^2 = 1/3
    at_zero=0.5,
    derivative_of_value=elementwise.sigmoid_derivative_of_value,
    bounded=1.0,
)
_add("sin", torch.sin, torch.cos, 1.0, dual=duals.sin, bounded=1.0)
_add("cos", torch.cos, elementwise.cos_derivative, 1.0, at_zero=1.0, dual=duals.cos, bounded=1.0)
_add(
    "erf",
    torch.erf,
    elementwise.erf_derivative,
    math.sqrt(8 / (math.pi * math.e)),  # at x^2 = 1/2
    dual=duals.erf,
    bounded=1.0,
)
_add("softplus", elementwise.softplus, torch.sigmoid, 0.25, at_zero=math.log(2))
_add(
    "gelu",
    functional.gelu,
    elementwise.gelu_derivative,
    math.sqrt(2 / math.pi),  # at x = 0
    dual=duals.gelu,
)
_add("silu", functional.silu, elementwise.silu_derivative, 0.5)
_add(
    "arctan",
    elementwise.arctan,
    elementwise.arctan_derivative,
    3 * math.sqrt(3) / 8,  # at x^2 = 1/3
    bounded=math.pi / 2,
)
_add(
    "gaussian",
    elementwise.gaussian,
    elementwise.gaussian_derivative,
    2.0,
    at_zero=1.0,
    dual=duals.gaussian,
    bounded=1.0,
)
