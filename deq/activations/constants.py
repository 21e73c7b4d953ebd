"""Constants of the built-in activations: L = sup |phi'|, and which ones have a kink.

Source: docs/theory.md, section 7.

This module does not import torch, so that a configuration is checked quickly.
"""

import math


def _silu() -> float:
    """Return L of SiLU, (1 + t) / 2 with t tanh t = 1: 1.0998...

    phi''(x) = s (1 - s) (2 - x tanh(x/2)) vanishes at x = 2t; there s = (1 + 1/t) / 2,
    and phi' = s + x s (1 - s) becomes (1 + t) / 2. Newton's method on t tanh t.
    """
    t = 1.2
    for _ in range(6):
        t -= (t * math.tanh(t) - 1) / (math.tanh(t) + t / math.cosh(t) ** 2)
    return (1 + t) / 2


LIPSCHITZ: dict[str, float] = {
    "relu": 1.0,
    "leaky_relu": 1.0,
    "identity": 1.0,
    "tanh": 1.0,
    "sigmoid": 0.25,
    "sin": 1.0,
    "cos": 1.0,
    "erf": 2 / math.sqrt(math.pi),
    "softplus": 1.0,
    # phi'' = Phi' (2 - x^2): the slope is greatest at sqrt 2, where it is 1.1289...
    "gelu": (1 + math.erf(1)) / 2 + 1 / (math.e * math.sqrt(math.pi)),
    "silu": _silu(),
    "arctan": 1.0,
    "gaussian": math.sqrt(2 / math.e),  # at x^2 = 1/2
}

# Activations with sup |phi''| infinite.
KINKED = frozenset({"relu", "leaky_relu"})


def check_builtin(name: str) -> None:
    """Check that an activation is built in.

    Raises:
        ValueError: it is not.
    """
    if name not in LIPSCHITZ:
        raise ValueError(
            f"unknown activation {name!r}: choose from {', '.join(LIPSCHITZ)}, "
            "or name your own as package.module:name"
        )
