"""An activation by its name: a built-in, or a user's own, imported and checked."""

import functools

from deq.activations.activation import Activation
from deq.activations.builtin import ACTIVATIONS
from deq.activations.constants import check_builtin
from deq.activations.source import activation_digest, module_of
from deq.activations.validation import check


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
    if ":" not in name:
        check_builtin(name)
    if sha256 and (found := activation_digest(name)) != sha256:
        raise ValueError(
            f"activation {name} is not that of this config: the SHA-256 of its module is "
            f"{found[:12] or 'none'}..., not {sha256[:12]}..."
        )
    return ACTIVATIONS[name] if name in ACTIVATIONS else _own(name)


@functools.cache
def _own(name: str) -> Activation:
    """A user's activation, imported and checked."""
    module, attribute = module_of(name), name.partition(":")[2]
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
