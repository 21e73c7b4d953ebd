"""The module that an own activation is defined in, and its digest; without torch."""

import hashlib
import importlib
import inspect
from pathlib import Path
from types import ModuleType

from deq.activations.constants import check_builtin


def activation_digest(name: str) -> str:
    """SHA-256 of the source text of the module that defines an activation; 64 hex digits.

    Of that module alone, not of what it imports: keep an activation in one file. Line
    endings do not count. Empty for a built-in, which the version of deq stands for.

    Raises:
        ValueError: there is no such activation, or its module has no source text.
    """
    if ":" not in name:
        check_builtin(name)
        return ""
    module = module_of(name)
    try:
        text = Path(inspect.getsourcefile(module) or "").read_text(encoding="utf-8")
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"activation {name}: its module has no source text to read") from error
    return hashlib.sha256(text.encode()).hexdigest()


def module_of(name: str) -> ModuleType:
    """Import the module before the colon of "package.module:name".

    Raises:
        ValueError: it is no such name, or the import fails.
    """
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
