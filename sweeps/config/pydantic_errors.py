"""Errors of pydantic in our words."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from sweeps.config.config_files import groups
from sweeps.config.trial_keys import key_in, types_at
from sweeps.errors import ConfigError

# What a value should be, by pydantic's type of error.
_NOUNS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "dict_type": "a mapping, {KEY: VALUE}",
    "dataclass_type": "a mapping, {KEY: VALUE}",
    "list_type": "a list, [VALUE, VALUE]",
    "tuple_type": "a list, [VALUE, VALUE]",
}
# Names that pydantic puts into the place of an error for a member of a union.
_MEMBERS = {"int", "float", "str", "bool", "Interval", "Choice"}


def first_error(cls: type, errors: Sequence[Any]) -> ConfigError:
    """The first error of a validation.

    Args:
        cls: the dataclass that was validated.
        errors: as pydantic lists them.
    """
    # Skip errors of the members of a union that were not chosen by name.
    wrong = {
        e["loc"][:2] for e in errors if e["type"] == "literal_error" and e["loc"][-1] == "name"
    }
    chosen = [e for e in errors if e["loc"][:2] not in wrong] or list(errors)
    error = chosen[0]
    place = place_of(error)
    if error["type"] == "dataclass_type" and place in groups() and isinstance(error["input"], str):
        text = _how_to_choose(place, error["input"])
    elif error["type"] == "dataclass_type" and (keys := _keys(cls, place)):
        text = f"set one of its keys ({', '.join(keys)}), as {place}.{keys[0]}=VALUE"
    else:
        others = [e for e in chosen[1:] if place_of(e) == place]
        text = text_of(error) + "".join(_or(other) for other in others)
    key = key_in(text, place) if error["type"] == "value_error" else place
    value = error["input"] if key == place else None
    return ConfigError(f"{place}{_given(error)}: {text}" if place else text, key=key, value=value)


def place_of(error: Any) -> str:
    """Dotted key that an error is about."""
    return ".".join(str(part) for part in error["loc"] if not _is_member(str(part)))


def text_of(error: Any) -> str:
    """Fault of a value, in our words; for a list of values also how an axis is written."""
    if error["type"] == "finite_number":
        return "a configuration holds finite numbers only"
    noun = _NOUNS.get(error["type"])
    if noun is None:
        message: str = error["msg"].removeprefix("Value error, ")
        return message.replace("Input should be", "it should be")
    value = error.get("input")
    if isinstance(value, list):
        axis = f"{place_of(error)}={','.join(map(str, value))}"
        return f"give one value, {noun}; an axis is written without brackets, {axis}"
    return f"it should be {noun}"


def _how_to_choose(group: str, choice: str) -> str:
    """Advice for a file that gives the name of a choice where the group's keys belong."""
    return (
        f"to choose, write {group}={choice} on the command line, or in a file: "
        f"defaults: [override /{group}: {choice}]"
    )


def _or(error: Any) -> str:
    """A further value that a key takes, as the end of a sentence."""
    return f" or {error['ctx']['expected']}" if error["type"] == "literal_error" else ""


def _given(error: Any) -> str:
    """The value that was given, if it is short enough to be read in a sentence."""
    value = error.get("input")
    if error["type"] in ("missing", "value_error"):
        return f"={value}" if isinstance(value, str | int | float) else ""
    if value is None or isinstance(value, bool):
        return f"={str(value).lower().replace('none', 'null')}"
    return f"={value}" if isinstance(value, str | int | float | list) else ""


def _keys(cls: type, place: str) -> list[str]:
    """Names of the fields of the dataclass at a dotted key; none for a union of dataclasses."""
    kinds = [kind for kind in types_at([cls], place) if is_dataclass(kind)]
    return [field.name for kind in kinds for field in fields(kind)]


def _is_member(part: str) -> bool:
    return part.endswith("Config") or part in _MEMBERS or "[" in part
