"""The door to pydantic: validates plain data against typed configs."""

import math
from dataclasses import asdict, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sweeps.config.nested import flatten, nearest
from sweeps.config.pydantic_errors import first_error
from sweeps.errors import ConfigError

T = TypeVar("T")
# Keys whose values are true or false.
BOOLEAN_KEYS = ("allow_ill_posed", "weights", "centred", "grayscale", "high_dimension")


def validated(cls: type[T], plain: dict[str, Any]) -> T:
    """Validate plain data against a tree of dataclasses.

    Raises:
        ConfigError: names the first wrong key.
    """
    _refuse_odd(plain)
    try:
        config: Any = _adapter(cls).validate_python(plain)
    except ValidationError as error:
        raise first_error(cls, error.errors(include_url=False)) from error
    keys = tuple(flatten({k: v for k, v in plain.items() if k not in ("axes", "paper")}))
    signature = (cls, keys, *(type(getattr(config, f.name)) for f in fields(config)))
    if signature not in _checked:  # thousands of trials have the same keys
        known = flatten(asdict(config))
        for key in keys:
            if key not in known:
                raise ConfigError(f"no key {key!r}{nearest(key, known)}", key=key)
        _checked.add(signature)
    checked: T = config
    return checked


# (class, keys, types of the parts) of data whose keys were checked before.
_checked: set[tuple[Any, ...]] = set()


def dumped(config: Any) -> dict[str, Any]:
    """Plain data of a typed config, which `validated` accepts."""
    plain: dict[str, Any] = _adapter(type(config)).dump_python(config, mode="json")
    return plain


def _adapter(cls: type) -> TypeAdapter[Any]:
    if cls not in _adapters:
        _adapters[cls] = TypeAdapter(cls)
    return _adapters[cls]


_adapters: dict[type, TypeAdapter[Any]] = {}


def _refuse_odd(plain: dict[str, Any]) -> None:
    """Refuse values that pydantic accepts as numbers: true, NaN and infinity."""
    for key, value in flatten(plain).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value}: a configuration holds finite numbers only", key=key)
        if isinstance(value, bool) and key.rsplit(".", 1)[-1] not in BOOLEAN_KEYS:
            raise ConfigError(
                f"{key}={str(value).lower()}: true and false have no meaning here", key=key
            )
