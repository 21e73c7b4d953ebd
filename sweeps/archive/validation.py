"""The second door to pydantic: JSON that somebody else wrote, as typed data or not at all."""

import functools
import json
from typing import Annotated, Any, NoReturn, TypeVar, cast

from pydantic import Strict, TypeAdapter, ValidationError

from sweeps.config.nested import flatten
from sweeps.errors import ConfigError

T = TypeVar("T")
# Fields that take their own type only: no text is read as a number.
Text = Annotated[str, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Truth = Annotated[bool, Strict()]


def plain_of(name: str, text: bytes) -> dict[str, Any]:
    """A JSON object, finite numbers only.

    Raises:
        ConfigError: it is none; `name` says which.
    """
    try:
        plain = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(plain, allow_nan=False)  # 1e999 is infinite, and no constant
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is no JSON as an archive has it ({error})") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{name} holds no JSON object")
    return plain


def typed(cls: type[T], name: str, plain: dict[str, Any]) -> T:
    """Plain data as a dataclass of `Text`, `Whole`, ...; keys it does not have are left aside.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    try:
        # Not from the JSON text: pydantic's own reader of it moves the last bit of a float.
        found: T = _adapter(cast("Any", cls)).validate_python(plain)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in item["loc"])
        raise ConfigError(f"{name}: {place[:80]!r}: {item['msg']}") from error
    return found


def refuse_unprintable(name: str, *values: Any) -> None:
    """Refuse text that would act on a terminal, at any depth; keys too.

    Raises:
        ConfigError: there is some.
    """
    for value in values:
        if isinstance(value, dict):
            refuse_unprintable(name, *value, *value.values())
        elif isinstance(value, list | tuple):
            refuse_unprintable(name, *value)
        elif isinstance(value, str) and not value.isprintable():
            raise ConfigError(f"{name} holds control characters: {value[:40]!r}")


def refuse_long(name: str, plain: dict[str, Any], most: int = 1000) -> None:
    """Refuse text that a field of MLflow's would not take.

    Raises:
        ConfigError: there is some, or there are too many keys.
    """
    for key, value in flatten(plain).items():
        if len(key) > most or (isinstance(value, str) and len(value) > most):
            raise ConfigError(f"{name}: the text of {key[:40]!r} is too long")
    if len(plain) > most:
        raise ConfigError(f"{name} has too many keys")


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
