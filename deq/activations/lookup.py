"""Activations by name: a built-in one, or a user's own, imported and checked."""

import functools

from deq.activations.activation import Activation
from deq.activations.builtin import ACTIVATIONS
from deq.activations.constants import check_builtin
from deq.activations.source import activation_digest, import_module_of
from deq.activations.validation import check


def activation(name: str, *, sha256: str = "") -> Activation:
    """Return the activation with this name.

    Args:
        name: a key of ACTIVATIONS, or "package.module:name" of a user's own Activation,
            which is imported and checked once per process.
        sha256: the `activation_digest` that it must have; empty for any.

    Raises:
        ValueError: it does not exist, fails its checks, or has another digest.
    """
    if ":" not in name:
        check_builtin(name)
    if sha256 and (digest := activation_digest(name)) != sha256:
        raise ValueError(
            f"activation {name} is not that of this config: the SHA-256 of its module is "
            f"{digest[:12] or 'none'}..., not {sha256[:12]}..."
        )
    return ACTIVATIONS[name] if name in ACTIVATIONS else _load_own(name)


@functools.cache
def _load_own(name: str) -> Activation:
    """Import and check a user's activation."""
    module, attribute = import_module_of(name), name.partition(":")[2]
    phi = getattr(module, attribute, None)
    if not isinstance(phi, Activation):
        others = [key for key, value in vars(module).items() if isinstance(value, Activation)]
        problem = f"of type {type(phi).__name__}" if hasattr(module, attribute) else "missing"
        raise ValueError(
            f"activation {name}: {attribute!r} is {problem}, not a deq.Activation; "
            f"{module.__name__} has {', '.join(others) or 'none'}"
        )
    try:
        check(phi)
    except ValueError as error:
        raise ValueError(f"activation {name}: {error}") from error
    return phi
