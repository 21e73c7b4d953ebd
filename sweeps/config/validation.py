"""The door to pydantic: validates plain data against typed configs."""

import functools
from dataclasses import asdict
from typing import Any, Literal, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sweeps.config.misspellings import nearest
from sweeps.config.nested import flatten
from sweeps.config.pydantic_errors import first_error, place_of
from sweeps.config.trial_keys import types_at
from sweeps.errors import ConfigError

T = TypeVar("T")


def validated(cls: type[T], plain: dict[str, Any]) -> T:
    """Validate plain data against a tree of dataclasses.

    Raises:
        ConfigError: names the first wrong key.
    """
    _refuse_booleans(cls, plain)
    try:
        config: T = _adapter(cast("Any", cls), "forbid").validate_python(plain)
    except ValidationError as error:
        raise _fault(cls, plain, error) from error
    return config


def dumped(config: Any) -> dict[str, Any]:
    """Plain data of a typed config, which `validated` accepts."""
    plain: dict[str, Any] = _adapter(cast("Any", type(config)), "forbid").dump_python(
        config, mode="json"
    )
    return plain


def _fault(cls: type, plain: dict[str, Any], refusal: ValidationError) -> ConfigError:
    """First fault of plain data that was refused: a value, else a key that does not exist."""
    try:
        config = _adapter(cast("Any", cls), "ignore").validate_python(plain)
    except ValidationError as error:
        return first_error(cls, error.errors(include_url=False))
    known = flatten(asdict(config))
    unknown = (key for key in flatten(plain) if key not in known)
    key = next(unknown, place_of(refusal.errors()[0]))
    return ConfigError(f"no key {key!r}{nearest(key, known)}", key=key)


@functools.cache
def _adapter(cls: Any, extra: Literal["forbid", "ignore"]) -> TypeAdapter[Any]:
    """Validator of a dataclass and of those in it, with finite numbers only."""
    # As `cls | None`, because pydantic takes no configuration for a dataclass alone.
    return TypeAdapter(cls | None, config=ConfigDict(extra=extra, allow_inf_nan=False))


def _refuse_booleans(cls: type, plain: dict[str, Any]) -> None:
    """Refuse true and false where the type is another one: pydantic takes them for 1 and 0."""
    for key, value in flatten(plain).items():
        if isinstance(value, bool) and _is_never_boolean(cls, key):
            text = f"{key}={str(value).lower()}: true and false have no meaning here"
            raise ConfigError(text, key=key)


@functools.cache
def _is_never_boolean(cls: type, key: str) -> bool:
    """Return whether there is such a key, and its value may be neither true nor false."""
    types = types_at([cls], key)
    return bool(types) and not any(kind in (bool, Any) for kind in types)
