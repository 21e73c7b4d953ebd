"""The door to Hydra and OmegaConf: overrides in, the points of the search space out.

The axes are taken out of the overrides first and expanded here, so that Hydra composes
once per choice of groups and not once per trial.
"""

import contextlib
import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
)
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.errors import ConfigError
from sweeps.groups import conf_dir, groups
from sweeps.plain import flattened, from_yaml, nearest, value_at, with_values
from sweeps.search.space import Choice, Interval

# `${env_or:NAME,DEFAULT}`, for which an empty variable is as good as none.
OmegaConf.register_new_resolver(
    "env_or", lambda name, default: os.environ.get(name) or default, replace=True
)

# An axis: a list of values for a grid, or what a search draws from.
Axis = list[Any] | Interval | Choice


@dataclass(frozen=True)
class _Command:
    """Overrides, parsed.

    Attributes:
        parser: Hydra's, which knows the groups for glob().
        fixed: those that name one value, as they were typed.
        axes: those that name several, or an interval, by key.
        named: every key that was typed: it replaces an experiment's axis.
        groups: the folders of conf/.
    """

    parser: OverridesParser
    fixed: list[str]
    axes: dict[str, Axis]
    named: set[str]
    groups: set[str]


def points(overrides: Sequence[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every cell of the grid: its plain config, and its axis values.

    What a search draws from within a cell is under the plain config's `search.space`.

    Raises:
        ConfigError: an override, a key or a choice is wrong.
    """
    with _hydra(overrides) as command:
        yield from _expand(command)


def composed(overrides: Sequence[str]) -> str:
    """The composed config as YAML: axes and interpolations as they stand.

    Raises:
        ConfigError: an override, a key or a choice is wrong.
    """
    with _hydra(overrides) as command:
        first = {key: v[0] for key, v in _lists(command.axes).items() if key in command.groups}
        config = _composed(command, first)
        declared = {key: v for key, v in config.axes.items() if key not in command.named}
        typed = {k: v if isinstance(v, list) else asdict(v) for k, v in command.axes.items()}
        config.axes = declared | typed
        return OmegaConf.to_yaml(config)


@contextlib.contextmanager
def _hydra(overrides: Sequence[str]) -> Iterator[_Command]:
    """Hydra, initialised on conf/; what it finds wrong comes out as a ConfigError."""
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            parser = OverridesParser.create(config_loader=loader)
            groups = {key for key in loader.list_groups("") if not key.startswith("hydra")}
            parsed = [_parse(parser, text) for text in overrides]
            yield _Command(
                parser=parser,
                fixed=[o.input_line or "" for o in parsed if not o.is_sweep_override()],
                axes={_key(o): _axis(o, groups) for o in parsed if o.is_sweep_override()},
                named={_key(o) for o in parsed},
                groups=groups,
            )
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explained(error, overrides)) from error


def _composed(command: _Command, choices: dict[str, Any]) -> DictConfig:
    """Hydra's composition for one choice of groups."""
    chosen = [f"{key}={value}" for key, value in choices.items()]
    config: DictConfig = compose("config", [*command.fixed, *chosen])
    return config


def _expand(command: _Command) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    groups = command.groups
    group_axes = {key: v for key, v in _lists(command.axes).items() if key in groups}
    for options in itertools.product(*group_axes.values()):
        choices = dict(zip(group_axes, options, strict=True))
        plain = OmegaConf.to_container(_composed(command, choices), resolve=True)
        assert isinstance(plain, dict)
        own = _declared_axes(command, plain)
        inner = {key: values for key, values in _lists(own).items() if key in groups}
        if inner:  # an experiment's choices of groups: compose again with each
            fixed = [f"{key}={v[0]}" for key, v in inner.items() if len(v) == 1]
            axes: dict[str, Axis] = {key: v for key, v in inner.items() if len(v) > 1}
            yield from _expand(
                replace(
                    command,
                    fixed=command.fixed + fixed,
                    axes=command.axes | axes,
                    named=command.named | set(inner),
                )
            )
            continue
        both = {key: v for key, v in {**own, **command.axes}.items() if key not in groups}
        values, space = _searched(plain, both)
        # An axis of one value (the papers' size has some) is no axis: it names no trial.
        single = {key for key, v in _lists(own).items() if len(v) == 1}
        for picked in itertools.product(*values.values()):
            chosen = dict(zip(values, picked, strict=True))
            point = with_values(plain, chosen)
            if space:
                point["search"]["space"] = space
            varying = {key: value for key, value in chosen.items() if key not in single}
            yield _strings(point), choices | varying


def _searched(
    plain: dict[Any, Any], axes: dict[str, Axis]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The axes of the grid, and as plain data the space that the search draws from.

    `choice(...)` is drawn from where the search draws, and is an axis like a list elsewhere.
    """
    search = plain["search"]["name"]
    grid, space = _lists(axes), {}
    for key, axis in axes.items():
        if isinstance(axis, list):
            continue
        if isinstance(axis, Choice):
            if search in ("random", "optuna"):
                value_at(plain, key)
                space[key] = asdict(axis)
            else:
                grid[key] = axis.values
        elif search == "grid":
            raise ConfigError(
                f"{key} has an interval for an axis, and a grid needs values: give a list or "
                "range(), or search=random, optuna or frontier"
            )
        else:
            space[key] = asdict(_of_kind(key, axis, value_at(plain, key)))
    return {key: grid[key] for key in axes if key in grid}, space


def _of_kind(key: str, axis: Interval, default: Any) -> Interval:
    """The interval, of whole numbers where the key's default is one."""
    if isinstance(default, bool | str | dict | list):
        raise ConfigError(f"{key}={default} is no number: an interval has no meaning there")
    whole = isinstance(default, int) or (default is None and axis.integer)
    if whole and not (float(axis.low).is_integer() and float(axis.high).is_integer()):
        raise ConfigError(f"{key} takes whole numbers, not {axis.low:g} to {axis.high:g}")
    kind = int if whole else float
    return Interval(kind(axis.low), kind(axis.high), axis.scale)


def _lists(axes: dict[str, Axis]) -> dict[str, list[Any]]:
    """Those of the axes that are lists."""
    return {key: axis for key, axis in axes.items() if isinstance(axis, list)}


def _declared_axes(command: _Command, plain: dict[Any, Any]) -> dict[str, Axis]:
    """An experiment's axes, at the size asked for, those aside whose key was typed."""
    declared: dict[Any, Any] = {}
    for name in ("axes", "paper") if plain.get("size") == "paper" else ("axes",):
        part = plain.get(name) or {}
        if not isinstance(part, dict):
            raise ConfigError(f"{name} must map keys to values, e.g. {{model.width: [64, 128]}}")
        declared |= part
    return {
        str(key): _declared(command, str(key), values)
        for key, values in declared.items()
        if str(key) not in command.named
    }


def _parse(parser: OverridesParser, text: str) -> Override:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ConfigError(f"{text!r} holds control characters, or is not UTF-8")
    try:
        override: Override = parser.parse_overrides([text])[0]
    except HydraException as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError(f"cannot read the override {text!r}: {why}") from error
    return override


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _axis(override: Override, groups: set[str]) -> Axis:
    """A sweep override: an interval, what `choice(...)` names, or a list of values."""
    swept = override.value()
    if isinstance(swept, IntervalSweep):
        assert swept.start is not None
        assert swept.end is not None
        try:
            return Interval(swept.start, swept.end, "log" if "log" in swept.tags else "linear")
        except ValueError as error:
            raise ConfigError(f"{override.input_line}: {error}") from error
    values = _choices(override)
    chosen = isinstance(swept, ChoiceSweep) and not swept.simple_form
    return Choice(values) if chosen and _key(override) not in groups else values


def _choices(override: Override) -> list[Any]:
    """The values of a sweep override, as plain data."""
    values = [
        v.text if isinstance(v, QuotedString) else v
        for v in override.sweep_iterator(transformer=lambda x: x)
    ]
    if not values:
        shown = override.input_line
        what = "matches nothing" if isinstance(override.value(), Glob) else "has no values"
        raise ConfigError(f"the axis {shown!r} {what}")
    if any(isinstance(v, IntervalSweep) for v in values):
        raise ConfigError(f"the axis {override.input_line!r} has several intervals: give one")
    return values


def _declared(command: _Command, key: str, values: Any) -> Axis:
    """An axis of an experiment file: a list, or text in Hydra's sweep grammar."""
    if isinstance(values, str):
        override = _parse(command.parser, f"{key}={values}")
        swept = override.is_sweep_override()
        return _axis(override, command.groups) if swept else [override.value()]
    return list(values) if isinstance(values, list) else [values]


def _strings(plain: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in plain.items()}


def _explained(error: Exception, overrides: Sequence[str]) -> str:
    """Hydra's error in one line, with the nearest right name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    typed = [(override.lstrip("+~").partition("="), override) for override in overrides]
    # Of `search=optuna search.trials=3` the longer key is the one it is about.
    for (key, _, value), override in sorted(typed, key=lambda item: -len(item[0][0])):
        options = groups().get(key, [])
        if value and f"{key}/{value}" in str(error):
            return f"{override}: no such {key}; there is {', '.join(options)}"
        if key in text:
            return f"{override}: no such key{_belonging(key)}"
    return text


def _belonging(key: str) -> str:
    """The end of an error message on a key: the choices that have it, or the nearest known."""
    group = key.partition(".")[0]
    choices = {option: _keys_of(group, option) for option in groups().get(group, [])}
    having = [option for option, keys in choices.items() if key in keys]
    if having:
        return f" here: it belongs to {group}={' or '.join(having)}"
    known = list(flattened(from_yaml((conf_dir() / "config.yaml").read_text())))
    known += [*groups(), *(key for keys in choices.values() for key in keys)]
    return nearest(key, [name for name in known if name != "defaults"])


def _keys_of(group: str, option: str) -> list[str]:
    """The dotted keys that a choice of a group brings, `data.n` say."""
    text = (conf_dir() / group / f"{option}.yaml").read_text()
    return [f"{group}.{key}" for key in flattened(from_yaml(text))]
