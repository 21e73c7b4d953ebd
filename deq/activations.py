"""Activations phi with the constants the theory needs of them, and how they are named."""

import functools
import hashlib
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from deq import duals, elementwise
from deq.conformance import check


@dataclass(frozen=True)
class Activation:
    """An activation phi, applied entrywise, and what the theorems assume of it.

    Attributes:
        name: how configurations call it.
        function: phi.
        derivative: phi'; at a kink, the value from the left.
        lipschitz: L = sup |phi'|.
        curvature: M = sup |phi''|; infinite for a kinked phi (Ling et al. only).
        at_zero: phi(0).
        smooth: whether phi is analytic on the real line, so that its Hermite
            coefficients decay faster than any power.
        polynomial: whether phi is a polynomial, so that lambda_star may be zero.
        dual: closed form of (E[phi(u) phi(v)], E[phi'(u) phi'(v)]) for centred
            Gaussians of variance q and covariance c, where one is known; a relative
            error of some units of float64's rounding is presumed of it.
        derivative_of_value: phi' as a function of phi's value, for a phi whose value is
            dear and decides its derivative (tanh: 1 - phi^2).
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    lipschitz: float
    curvature: float
    at_zero: float
    smooth: bool
    polynomial: bool = False
    dual: duals.Dual | None = None
    derivative_of_value: Callable[[Tensor], Tensor] | None = None

    def derivative_at(self, x: Tensor, value: Tensor) -> Tensor:
        """phi'(x), where value = phi(x) is known."""
        if self.derivative_of_value is None:
            return self.derivative(x)
        return self.derivative_of_value(value)


def _silu_lipschitz() -> float:
    """(1 + t) / 2 with t tanh t = 1: 1.0998...

    phi''(x) = s (1 - s) (2 - x tanh(x/2)) vanishes at x = 2t; there s = (1 + 1/t) / 2,
    and phi' = s + x s (1 - s) becomes (1 + t) / 2. Newton's method on t tanh t.
    """
    t = 1.2
    for _ in range(6):
        t -= (t * math.tanh(t) - 1) / (math.tanh(t) + t / math.cosh(t) ** 2)
    return (1 + t) / 2


_BUILT_IN = (
    Activation(
        name="relu",
        function=torch.relu,
        derivative=elementwise.relu_derivative,
        lipschitz=1.0,
        curvature=math.inf,
        at_zero=0.0,
        smooth=False,
        dual=duals.relu,
    ),
    Activation(
        name="leaky_relu",
        function=elementwise.leaky_relu,
        derivative=elementwise.leaky_relu_derivative,
        lipschitz=1.0,
        curvature=math.inf,
        at_zero=0.0,
        smooth=False,
        dual=duals.leaky_relu(elementwise.LEAKY_SLOPE),
    ),
    Activation(
        name="identity",
        function=elementwise.identity,
        derivative=torch.ones_like,
        lipschitz=1.0,
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
        lipschitz=1.0,
        curvature=4 / (3 * math.sqrt(3)),  # at tanh(x)^2 = 1/3
        at_zero=0.0,
        smooth=True,
        derivative_of_value=elementwise.tanh_derivative_of_value,
    ),
    Activation(
        name="sigmoid",
        function=torch.sigmoid,
        derivative=elementwise.sigmoid_derivative,
        lipschitz=0.25,
        curvature=1 / (6 * math.sqrt(3)),  # at (2s - 1)^2 = 1/3
        at_zero=0.5,
        smooth=True,
        derivative_of_value=elementwise.sigmoid_derivative_of_value,
    ),
    Activation(
        name="sin",
        function=torch.sin,
        derivative=torch.cos,
        lipschitz=1.0,
        curvature=1.0,
        at_zero=0.0,
        smooth=True,
        dual=duals.sin,
    ),
    Activation(
        name="cos",
        function=torch.cos,
        derivative=elementwise.cos_derivative,
        lipschitz=1.0,
        curvature=1.0,
        at_zero=1.0,
        smooth=True,
        dual=duals.cos,
    ),
    Activation(
        name="erf",
        function=torch.erf,
        derivative=elementwise.erf_derivative,
        lipschitz=2 / math.sqrt(math.pi),
        curvature=math.sqrt(8 / (math.pi * math.e)),  # at x^2 = 1/2
        at_zero=0.0,
        smooth=True,
        dual=duals.erf,
    ),
    Activation(
        name="softplus",
        function=elementwise.softplus,
        derivative=torch.sigmoid,
        lipschitz=1.0,
        curvature=0.25,
        at_zero=math.log(2),
        smooth=True,
    ),
    Activation(
        name="gelu",
        function=torch.nn.functional.gelu,
        derivative=elementwise.gelu_derivative,
        # phi'' = Phi' (2 - x^2): the slope is greatest at sqrt 2, where it is 1.1289...
        lipschitz=(1 + math.erf(1)) / 2 + 1 / (math.e * math.sqrt(math.pi)),
        curvature=math.sqrt(2 / math.pi),
        at_zero=0.0,
        smooth=True,
        dual=duals.gelu,
    ),
    Activation(
        name="silu",
        function=torch.nn.functional.silu,
        derivative=elementwise.silu_derivative,
        lipschitz=_silu_lipschitz(),
        curvature=0.5,
        at_zero=0.0,
        smooth=True,
    ),
    Activation(
        name="arctan",
        function=torch.arctan,
        derivative=elementwise.arctan_derivative,
        lipschitz=1.0,
        curvature=3 * math.sqrt(3) / 8,  # at x^2 = 1/3
        at_zero=0.0,
        smooth=True,
    ),
    Activation(
        name="gaussian",
        function=elementwise.gaussian,
        derivative=elementwise.gaussian_derivative,
        lipschitz=math.sqrt(2 / math.e),  # at x^2 = 1/2
        curvature=2.0,
        at_zero=1.0,
        smooth=True,
        dual=duals.gaussian,
    ),
)

ACTIVATIONS: dict[str, Activation] = {phi.name: phi for phi in _BUILT_IN}


def activation(name: str, *, sha256: str = "") -> Activation:
    """The activation called `name`: a built-in, or a user's own.

    Args:
        name: a key of ACTIVATIONS, or "package.module:name", the place of an
            Activation, which is imported and checked (once in a process).
        sha256: refuse it unless its `activation_digest` is this; empty for any.

    Raises:
        ValueError: there is no such activation, it is not what it claims, or its
            source has changed.
    """
    if ":" not in name and name not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {name!r}: choose from {', '.join(ACTIVATIONS)}, "
            "or name your own as package.module:name"
        )
    if sha256 and (found := activation_digest(name)) != sha256:
        raise ValueError(
            f"activation {name} is not that of this config: the SHA-256 of its module is "
            f"{found[:12] or 'none'}..., not {sha256[:12]}..."
        )
    return ACTIVATIONS[name] if name in ACTIVATIONS else _own(name)


def activation_digest(name: str) -> str:
    """SHA-256 of the source text of the module that defines an activation; 64 hex digits.

    Of that module alone, not of what it imports: keep an activation in one file. Line
    endings do not count. Empty for a built-in, which the version of deq stands for.

    Raises:
        ValueError: there is no such activation, or its module has no source text.
    """
    if ":" not in name:
        activation(name)
        return ""
    module = _module(name)
    try:
        text = Path(inspect.getsourcefile(module) or "").read_text(encoding="utf-8")
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"activation {name}: its module has no source text to read") from error
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _own(name: str) -> Activation:
    """A user's activation, imported and checked."""
    module, attribute = _module(name), name.partition(":")[2]
    found = getattr(module, attribute, None)
    if not isinstance(found, Activation):
        there = [key for key, value in vars(module).items() if isinstance(value, Activation)]
        what = f"of type {type(found).__name__}" if hasattr(module, attribute) else "missing"
        raise ValueError(
            f"activation {name}: {attribute!r} is {what}, not a deq.Activation; "
            f"{module.__name__} has {', '.join(there) or 'none'}"
        )
    try:
        check(found)
    except ValueError as error:
        raise ValueError(f"activation {name}: {error}") from error
    return found


def _module(name: str) -> ModuleType:
    """The module before the colon, imported."""
    place, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in place.split(".")):
        raise ValueError(f"activation {name!r}: an own activation is named package.module:name")
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"activation {name}: no module {error.name!r}: install it, or put its folder "
            "on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's module does at import
        why = " ".join(str(error).split())
        raise ValueError(
            f"activation {name}: importing {place} fails: {type(error).__name__}: {why}"
        ) from error
