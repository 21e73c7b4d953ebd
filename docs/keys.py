"""Every config key as its dataclass declares it: type, default, meaning."""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import deq
from deq.activations.builtin import ACTIVATIONS
from sweeps.config.launch import LaunchConfig
from sweeps.metrics import SUMMARY

# Keys whose values are names that no type lists.
NAMES = {
    "model.activation": list(ACTIVATIONS),
    "search.metric": [metric.name for metric in SUMMARY],
}
# What is filled in, or is chosen by the group itself.
HIDDEN = {"search.space"}


@dataclass(frozen=True)
class Key:
    """One config key.

    Attributes:
        name: with dots.
        type: as a reader says it.
        default: as it is typed.
        meaning: from the docstring.
        values: those it takes, where they can be listed.
        choices: the choices of its group that have it; empty where there is no choice.
        hashed: whether another value makes another trial.
    """

    name: str
    type: str
    default: str
    meaning: str
    values: list[str]
    choices: list[str]
    hashed: bool


def config_keys() -> list[Key]:
    """All keys, the trial's first; of a group's choices each key once.

    Raises:
        ValueError: a field's meaning is not in its class's docstring.
    """
    keys: dict[tuple[str, str, str], Key] = {}
    for key in [*_of(deq.TrialConfig, "", True), *_of(LaunchConfig, "", False)]:
        same = keys.get((key.name, key.default, key.meaning))
        choices = [*same.choices, *key.choices] if same else key.choices
        keys[key.name, key.default, key.meaning] = replace(key, choices=choices)
    return list(keys.values())


def meanings(cls: type) -> dict[str, str]:
    """The text of every attribute in the "Attributes:" part of a class's docstring, or a base's."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        part = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        part = re.split(r"\n(?=\S)", part)[0]
        for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n     +.*)*)", part, re.MULTILINE):
            texts |= dict.fromkeys(re.split(", *", names), " ".join(text.split()))
    return texts


def _of(cls: type, prefix: str, hashed: bool, choice: str = "") -> Iterator[Key]:
    hints, texts = typing.get_type_hints(cls), meanings(cls)
    for field in fields(cls):
        name, hint = prefix + field.name, hints[field.name]
        configs = [t for t in (hint, *typing.get_args(hint)) if is_dataclass(t)]
        if field.name not in texts:
            raise ValueError(f"{cls.__name__}.{field.name} has no line under Attributes")
        if configs:
            for config in configs:
                several = len(configs) > 1
                named = str(_default_of(config, "name")) if several else ""
                yield from _of(config, f"{name}.", hashed, named)
        elif name not in HIDDEN and not (field.name == "name" and _is_group(prefix, choice)):
            yield _key(field, name, hint, texts[field.name], choice, hashed)


def _is_group(prefix: str, choice: str) -> bool:
    """True if `name` is set by the choice of a group, and typed by nobody."""
    return bool(choice) or prefix in ("cluster.", "tracking.")


def _key(field: "Field[Any]", name: str, hint: Any, meaning: str, choice: str, hashed: bool) -> Key:
    values = NAMES.get(name) or _values(hint)
    changes = hashed and field.metadata.get("identity", True)
    default = _shown(_default(field))
    choices = [choice] if choice else []
    return Key(name, _type(hint), default, meaning, values, choices, changes)


def _default_of(cls: type, name: str) -> Any:
    return next(_default(field) for field in fields(cls) if field.name == name)


def _default(field: "Field[Any]") -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{','.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _values(hint: Any) -> list[str]:
    if hint is bool:
        return ["true", "false"]
    if typing.get_origin(hint) is Literal:
        return [str(value) for value in typing.get_args(hint)]
    return [value for part in typing.get_args(hint) for value in _values(part)]


def _type(hint: Any) -> str:
    """`int | None` as "int or null", a Literal as its values."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if part is type(None) else _type(part) for part in parts)
    if origin is tuple:
        return f"list of {len(parts)}"
    named = {str: "text", bool: "true, false"}
    return "mapping" if origin is dict else named.get(hint) or str(hint.__name__)
