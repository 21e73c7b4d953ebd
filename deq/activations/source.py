"""The module that defines a user's own activation, and its digest; without torch."""

import hashlib
import importlib
import inspect
from pathlib import Path
from types import ModuleType

from deq.activations.constants import check_builtin


def activation_digest(name: str) -> str:
    """Return the SHA-256 of the source of the module that defines an activation.

    Modules that it imports are not included, so an activation must be in one file. Line
    endings do not matter.

    Args:
        name: a built-in activation, or "package.module:name".

    Returns:
        64 hex digits; empty for a built-in activation, which is fixed by deq's version.

    Raises:
        ValueError: the activation does not exist, or its module has no source text.
    """
    if ":" not in name:
        check_builtin(name)
        return ""
    module = import_module_of(name)
    try:
        text = Path(inspect.getsourcefile(module) or "").read_text(encoding="utf-8")
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"activation {name}: its module has no source text to read") from error
    return hashlib.sha256(text.encode()).hexdigest()


def import_module_of(name: str) -> ModuleType:
    """Import the module in "package.module:name".

    Raises:
        ValueError: the name has another form, or the import fails.
    """
    path, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in path.split(".")):
        raise ValueError(f"activation {name!r}: an own activation is named package.module:name")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"activation {name}: no module {error.name!r}: install it, or put its folder "
            "on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        why = " ".join(str(error).split())
        raise ValueError(
            f"activation {name}: importing {path} fails: {type(error).__name__}: {why}"
        ) from error
