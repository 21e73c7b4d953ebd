"""The door to Hydra and OmegaConf: composes overrides into the points of a sweep's grid.

Axes are removed from the overrides and expanded here, so that Hydra composes once per choice
of groups and not once per trial.
"""

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.config.config_files import MAIN, ConfigFile, conf_dir, groups
from sweeps.config.config_origin import package_fault
from sweeps.config.experiment_axes import experiment_axes
from sweeps.config.hydra_errors import explain
from sweeps.config.hydra_session import files_of, session
from sweeps.config.nested import flatten, overlap, updated, value_at
from sweeps.config.overrides import Setting, check_setting, drop_replaced, has_interpolation, parse
from sweeps.config.search import SEARCHES, BaseSearch
from sweeps.config.space import Choice, Interval
from sweeps.config.yaml_text import YAML_ERRORS, from_yaml, yaml_fault
from sweeps.errors import ConfigError

# `${env_or:NAME,DEFAULT}`: an empty variable counts as unset.
OmegaConf.register_new_resolver(
    "env_or", lambda name, default: os.environ.get(name) or default, replace=True
)

Plain = dict[Any, Any]


@dataclass(frozen=True)
class _Command:
    """Parsed overrides of a command.

    Attributes:
        loader: Hydra's config loader.
        parser: Hydra's override parser; it expands glob() over the groups.
        settings: the overrides that have an effect, in the order in which they were typed.
        named: every key that was typed; an experiment's axes over them are left out.
        groups: the choices of each group.
        folders: the user's folders of config files.
        files: the user's files that were composed so far, by name.
    """

    loader: ConfigLoader
    parser: OverridesParser
    settings: list[Setting]
    named: set[str]
    groups: Mapping[str, list[str]]
    folders: Sequence[Path]
    files: dict[str, ConfigFile] = field(default_factory=dict)

    @property
    def searched(self) -> list[Path]:
        """Folders of hydra.searchpath."""
        typed = [s.value for s in self.settings if s.key == "hydra.searchpath"]
        return [Path(str(f).removeprefix("file://")) for value in typed for f in value or []]

    @property
    def choices(self) -> dict[str, list[Any]]:
        """Axes over groups, by group."""
        return {s.key: s.axis for s in self.settings if s.chooses and isinstance(s.axis, list)}


@dataclass(frozen=True)
class Composition:
    """Result of composing overrides.

    Attributes:
        points: (plain config, values of the axes) of every cell of the grid. The space that
            a search draws from within a cell is `search.space` of its plain config.
        files: the user's config files that they were composed from.
    """

    points: list[tuple[dict[str, Any], dict[str, Any]]]
    files: list[ConfigFile]


def compose_points(overrides: Sequence[str], folders: Sequence[Path] = ()) -> Composition:
    """Compose overrides into the points of a grid.

    Args:
        overrides: as typed.
        folders: the user's folders of config files, which take precedence over conf/.

    Raises:
        ConfigError: an override, a key, a choice or a file is wrong.
    """
    with _hydra(overrides, folders) as command:
        return Composition(list(_expand(command)), list(command.files.values()))


def composed_yaml(overrides: Sequence[str], folders: Sequence[Path] = ()) -> str:
    """The composed config as YAML, with axes and interpolations not expanded.

    Raises:
        ConfigError: an override, a key, a choice or a file is wrong.
    """
    with _hydra(overrides, folders) as command:
        config = _composed(command, {key: values[0] for key, values in command.choices.items()})
        declared = {key: v for key, v in config.axes.items() if key not in command.named}
        axes = {s.key: s.axis for s in command.settings if s.axis is not None}
        typed = {key: v if isinstance(v, list) else asdict(v) for key, v in axes.items()}
        config.axes = declared | typed
        return OmegaConf.to_yaml(config)


@contextlib.contextmanager
def _hydra(overrides: Sequence[str], folders: Sequence[Path]) -> Iterator[_Command]:
    """Parse a command with Hydra; its errors in the block become a ConfigError."""
    try:
        with session(folders) as loader:
            yield _command(loader, overrides, folders)
    except (HydraException, OmegaConfBaseException, *YAML_ERRORS) as error:
        raise explain(error, overrides, folders) from error


def _command(loader: ConfigLoader, overrides: Sequence[str], folders: Sequence[Path]) -> _Command:
    parser, choices = OverridesParser.create(config_loader=loader), groups(folders)
    parsed = [parse(parser, text, choices) for text in overrides]
    settings = drop_replaced(parsed, _optional())
    for setting in settings:
        check_setting(setting, choices)
    named = {key for setting in parsed for key in set.intersection(*setting.keys)}
    return _Command(loader, parser, settings, named, choices, folders)


def _optional() -> set[str]:
    """Groups without a default choice."""
    defaults: list[Any] = from_yaml((conf_dir() / MAIN).read_text())["defaults"]
    entries = [entry for entry in defaults if isinstance(entry, dict)]
    return {group for entry in entries for group, choice in entry.items() if choice is None}


def _composed(command: _Command, choices: dict[str, Any]) -> DictConfig:
    """Compose with Hydra for one choice of groups.

    Raises:
        ConfigError: a value is wrong, or a user's file holds no config.
    """
    fixed = [setting.text for setting in command.settings if setting.axis is None]
    plus = {s.key: "+" for s in command.settings if s.text.startswith("+")}
    chosen = [f"{plus.get(key, '')}{key}={value}" for key, value in choices.items()]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="provider=hydra.searchpath")
        try:
            config: DictConfig = compose("config", [*fixed, *chosen])
        except UserWarning as error:
            path = str(error).partition("path=")[2].removesuffix(" is not available.")
            raise ConfigError(f"hydra.searchpath: there is no folder {path}") from error
        except (ValueError, TypeError) as error:  # Hydra raises them for values of a wrong type
            raise explain(error, [*fixed, *chosen], command.folders) from error
    if command.folders or command.searched:
        command.files.update(_files(command, [*fixed, *chosen]))
    return config


def _files(command: _Command, overrides: list[str]) -> Iterator[tuple[str, ConfigFile]]:
    """The user's files that a composition was made from, by name."""
    for file in files_of(command.loader, overrides, command.folders, command.searched):
        if fault := yaml_fault(file.path) or package_fault(file):
            raise ConfigError(f"{file.path}: {fault}")
        yield file.name, file


def _expand(command: _Command) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(plain config, values of the axes) of every point of a command."""
    for options in itertools.product(*command.choices.values()):
        choices = dict(zip(command.choices, options, strict=True))
        config = _composed(command, choices)
        plain = OmegaConf.to_container(config, resolve=True)
        raw = OmegaConf.to_container(config)
        assert isinstance(plain, dict)
        assert isinstance(raw, dict)
        axes = experiment_axes(plain, raw, command.named, command.parser, command.groups)
        inner = [setting for setting in axes if setting.chooses]
        if inner:  # the experiment has axes over groups: compose with each choice
            yield from _expand(
                replace(
                    command,
                    settings=[*command.settings, *inner],
                    named=command.named | {setting.key for setting in inner},
                )
            )
            continue
        for point, varying in _cells(plain, raw, _steps(axes, command.settings)):
            yield point, choices | varying


def _steps(axes: list[Setting], typed: list[Setting]) -> list[Setting]:
    """Settings that turn the composed config into a cell, in order.

    The experiment's axes, the typed axes, and typed values over the keys of an axis: later
    settings replace earlier ones.
    """
    steps = list(axes)
    for setting in typed:
        if setting.chooses or setting.text.startswith("~"):
            continue
        if setting.axis is not None or any(overlap(setting.key, s.key) for s in steps):
            steps.append(setting)
    return steps


def _cells(
    plain: Plain, raw: Plain, steps: list[Setting]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(plain config, values of the axes) of every cell of one composition."""
    grid, space = _searched(plain, steps)
    swept = [setting.values for setting in grid]
    late = bool(grid) and (has_interpolation(raw, of_keys=True) or has_interpolation(swept))
    for picked in itertools.product(*(setting.values for setting in grid)):
        pairs = list(zip(grid, picked, strict=True))
        values: dict[str, Any] = {}
        for setting, value in pairs:
            values |= flatten({setting.key: value})
        point = updated(raw if late else plain, values)
        if late:
            point = _resolved(point)
        keys = [key for s, value in pairs if _varies(s) for key in flatten({s.key: value})]
        varying = {key: value_at(point, key) for key in keys}
        if space:
            point["search"] = point["search"] | {"space": space}
        yield {str(key): value for key, value in point.items()}, varying


def _varies(setting: Setting) -> bool:
    """Return whether a setting is an axis that trials are named by: it has several values."""
    return setting.axis is not None and (setting.typed or len(setting.values) > 1)


def _resolved(point: Plain) -> Plain:
    """Plain data with its interpolations resolved."""
    resolved = OmegaConf.to_container(OmegaConf.create(point), resolve=True)
    assert isinstance(resolved, dict)
    return resolved


def _searched(plain: Plain, steps: list[Setting]) -> tuple[list[Setting], dict[str, Any]]:
    """Split settings into those of the grid, and the search's space as plain data.

    `choice(...)` is part of the space of a search that takes choices; for other searches it is
    an axis like a list.
    """
    search = _search(plain.get("search"))
    grid, space = [], {}
    for setting in steps:
        key, axis = setting.key, setting.axis
        if isinstance(axis, Interval):
            if not search.takes_intervals:
                raise ConfigError(
                    f"{key} has an interval for an axis, and a grid needs values: give a list or "
                    "range(), or search=random, optuna or frontier",
                    key=key,
                )
            space[key] = asdict(_of_kind(key, axis, value_at(plain, key)))
        elif isinstance(axis, Choice) and search.takes_choices:
            value_at(plain, key)
            space[key] = asdict(axis)
        else:
            grid.append(setting)
    return grid, space


def _search(section: Any) -> type[BaseSearch]:
    """Kind of search that a section names; one that does not exist is refused later."""
    name = section.get("name", "grid") if isinstance(section, dict) else ""
    return SEARCHES.get(str(name), BaseSearch)


def _of_kind(key: str, axis: Interval, default: Any) -> Interval:
    """The interval, with whole numbers where the key's default is a whole number."""
    if isinstance(default, bool | str | dict | list):
        text = f"{key}={default} is no number: an interval has no meaning there"
        raise ConfigError(text, key=key)
    whole = isinstance(default, int) or (default is None and axis.integer)
    if whole and not (float(axis.low).is_integer() and float(axis.high).is_integer()):
        text = f"{key} takes whole numbers, not {axis.low:g} to {axis.high:g}"
        raise ConfigError(text, key=key)
    kind = int if whole else float
    return Interval(kind(axis.low), kind(axis.high), axis.scale)
