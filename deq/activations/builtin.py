"""The built-in activations."""

import math

import torch

from deq.activations import duals, elementwise
from deq.activations.activation import Activation
from deq.activations.constants import LIPSCHITZ

_BUILT_IN = (
    Activation(
        name="relu",
        function=torch.relu,
        derivative=elementwise.relu_derivative,
        lipschitz=LIPSCHITZ["relu"],
        curvature=math.inf,
        at_zero=0.0,
        smooth=False,
        dual=duals.relu,
    ),
    Activation(
        name="leaky_relu",
        function=elementwise.leaky_relu,
        derivative=elementwise.leaky_relu_derivative,
        lipschitz=LIPSCHITZ["leaky_relu"],
        curvature=math.inf,
        at_zero=0.0,
        smooth=False,
        dual=duals.leaky_relu(elementwise.LEAKY_SLOPE),
    ),
    Activation(
        name="identity",
        function=elementwise.identity,
        derivative=torch.ones_like,
        lipschitz=LIPSCHITZ["identity"],
        curvature=0.0,
        at_zero=0.0,
        smooth=True,
        polynomial=True,
        dual=duals.identity,
    ),
    Activation(
        name="tanh",
        function=torch.tanh,
        derivative=elementwise.tanh_derivative,
        lipschitz=LIPSCHITZ["tanh"],
        curvature=4 / (3 * math.sqrt(3)),  # at tanh(x)^2 = 1/3
        at_zero=0.0,
        smooth=True,
        derivative_of_value=elementwise.tanh_derivative_of_value,
    ),
    Activation(
        name="sigmoid",
        function=torch.sigmoid,
        derivative=elementwise.sigmoid_derivative,
        lipschitz=LIPSCHITZ["sigmoid"],
        curvature=1 / (6 * math.sqrt(3)),  # at (2s - 1)^2 = 1/3
        at_zero=0.5,
        smooth=True,
        derivative_of_value=elementwise.sigmoid_derivative_of_value,
    ),
    Activation(
        name="sin",
        function=torch.sin,
        derivative=torch.cos,
        lipschitz=LIPSCHITZ["sin"],
        curvature=1.0,
        at_zero=0.0,
        smooth=True,
        dual=duals.sin,
    ),
    Activation(
        name="cos",
        function=torch.cos,
        derivative=elementwise.cos_derivative,
        lipschitz=LIPSCHITZ["cos"],
        curvature=1.0,
        at_zero=1.0,
        smooth=True,
        dual=duals.cos,
    ),
    Activation(
        name="erf",
        function=torch.erf,
        derivative=elementwise.erf_derivative,
        lipschitz=LIPSCHITZ["erf"],
        curvature=math.sqrt(8 / (math.pi * math.e)),  # at x^2 = 1/2
        at_zero=0.0,
        smooth=True,
        dual=duals.erf,
    ),
    Activation(
        name="softplus",
        function=elementwise.softplus,
        derivative=torch.sigmoid,
        lipschitz=LIPSCHITZ["softplus"],
        curvature=0.25,
        at_zero=math.log(2),
        smooth=True,
    ),
    Activation(
        name="gelu",
        function=torch.nn.functional.gelu,
        derivative=elementwise.gelu_derivative,
        lipschitz=LIPSCHITZ["gelu"],
        curvature=math.sqrt(2 / math.pi),
        at_zero=0.0,
        smooth=True,
        dual=duals.gelu,
    ),
    Activation(
        name="silu",
        function=torch.nn.functional.silu,
        derivative=elementwise.silu_derivative,
        lipschitz=LIPSCHITZ["silu"],
        curvature=0.5,
        at_zero=0.0,
        smooth=True,
    ),
    Activation(
        name="arctan",
        function=torch.arctan,
        derivative=elementwise.arctan_derivative,
        lipschitz=LIPSCHITZ["arctan"],
        curvature=3 * math.sqrt(3) / 8,  # at x^2 = 1/3
        at_zero=0.0,
        smooth=True,
    ),
    Activation(
        name="gaussian",
        function=elementwise.gaussian,
        derivative=elementwise.gaussian_derivative,
        lipschitz=LIPSCHITZ["gaussian"],
        curvature=2.0,
        at_zero=1.0,
        smooth=True,
        dual=duals.gaussian,
    ),
)

ACTIVATIONS: dict[str, Activation] = {phi.name: phi for phi in _BUILT_IN}
