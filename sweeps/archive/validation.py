"""The second door to pydantic: JSON from an archive as typed data."""

import functools
import json
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    AllowInfNan,
    Field,
    Strict,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from sweeps.config.pydantic_errors import place_of, text_of
from sweeps.errors import ConfigError

__all__ = ["Count", "Finite", "StrictBool", "StrictInt", "StrictStr", "json_object", "typed"]

T = TypeVar("T")
Finite = Annotated[float, Strict(), AllowInfNan(allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=1)]


def json_object(name: str, text: bytes) -> dict[str, Any]:
    """Parse a JSON object that holds finite numbers only.

    Args:
        name: file name for the error message.
        text: content of the file.

    Raises:
        ConfigError: the text is not such an object.
    """
    try:
        plain = json.loads(text)
        json.dumps(plain, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid JSON ({error})") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{name} is not a JSON object")
    return plain


def typed(cls: type[T], name: str, plain: dict[str, Any]) -> T:
    """Validate a dict as an instance of a dataclass; unknown keys are ignored.

    Raises:
        ConfigError: a value has the wrong type; the message names the first such key.
    """
    try:
        # pydantic's own JSON parser may change the last bit of a float: give it Python objects.
        instance: T = _adapter(cast("Any", cls)).validate_python(plain)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{name}: {place_of(item)[:80]!r}: {text_of(item)}") from error
    return instance


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)
