"""Properties of activations by name; of a built-in without importing torch."""

import math

from deq.activations.constants import KINKED, LIPSCHITZ


def lipschitz(name: str, *, sha256: str = "") -> float:
    """L of the activation called `name`; a user's own is imported and checked.

    Args:
        name: a key of LIPSCHITZ, or "package.module:name".
        sha256: refuse an own activation unless its digest is this; empty for any.

    Raises:
        ValueError: there is no such activation, or it is not what it claims.
    """
    if name in LIPSCHITZ and not sha256:
        return LIPSCHITZ[name]
    from deq.activations.lookup import activation  # imports torch

    return activation(name, sha256=sha256).lipschitz


def has_kink(name: str) -> bool:
    """Whether sup |phi''| of an activation is infinite.

    Raises:
        ValueError: there is no such activation, or it is not what it claims.
    """
    if name in LIPSCHITZ:
        return name in KINKED
    from deq.activations.lookup import activation  # imports torch

    return math.isinf(activation(name).curvature)
