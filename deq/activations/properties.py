"""Properties of activations by name; for a built-in one torch is not imported."""

import math

from deq.activations.constants import KINKED, LIPSCHITZ


def lipschitz(name: str, *, sha256: str = "") -> float:
    """Return L = sup |phi'| of the activation with this name.

    Args:
        name: a built-in one, or "package.module:name" of a user's own.
        sha256: the digest that a user's own must have; empty for any.

    Raises:
        ValueError: it does not exist, fails its checks, or has another digest.
    """
    if name in LIPSCHITZ and not sha256:
        return LIPSCHITZ[name]
    from deq.activations.lookup import activation  # imports torch

    return activation(name, sha256=sha256).lipschitz


def has_kink(name: str) -> bool:
    """True if sup |phi''| of the activation with this name is infinite.

    Raises:
        ValueError: it does not exist or fails its checks.
    """
    if name in LIPSCHITZ:
        return name in KINKED
    from deq.activations.lookup import activation  # imports torch

    return math.isinf(activation(name).curvature)


def is_smooth(name: str) -> bool:
    """True if the activation with this name is analytic.

    Raises:
        ValueError: it does not exist or fails its checks.
    """
    if name in LIPSCHITZ:
        return name not in KINKED
    from deq.activations.lookup import activation  # imports torch

    return activation(name).smooth
