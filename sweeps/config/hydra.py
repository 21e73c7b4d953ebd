"""The door to Hydra and OmegaConf: overrides in, the points of the search space out.

The axes are taken out of the overrides first and expanded here, so that Hydra composes
once per choice of groups and not once per trial.
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
from sweeps.config.experiment_axes import experiment_axes
from sweeps.config.hydra_errors import explain
from sweeps.config.hydra_session import files_of, session
from sweeps.config.nested import flatten, updated, value_at
from sweeps.config.overrides import Setting, check_setting, drop_replaced, has_interpolation, parse
from sweeps.config.space import Choice, Interval
from sweeps.config.yaml_text import YAML_ERRORS, from_yaml, yaml_fault
from sweeps.errors import ConfigError

# `${env_or:NAME,DEFAULT}`, for which an empty variable is as good as none.
OmegaConf.register_new_resolver(
    "env_or", lambda name, default: os.environ.get(name) or default, replace=True
)

Plain = dict[Any, Any]


@dataclass(frozen=True)
class _Command:
    """Overrides, parsed.

    Attributes:
        loader: Hydra's.
        parser: Hydra's, which knows the groups for glob().
        settings: those that count, in the order in which they were typed.
        named: every key that was typed: it replaces an experiment's axis.
        groups: the choices of each group.
        folders: a user's own, beside conf/.
        files: those of a user's that were composed from so far, by name.
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
        """The folders of hydra.searchpath."""
        typed = [s.value for s in self.settings if s.key == "hydra.searchpath"]
        return [Path(str(f).removeprefix("file://")) for value in typed for f in value or []]

    @property
    def choices(self) -> dict[str, list[Any]]:
        """The axes over groups."""
        return {s.key: s.axis for s in self.settings if s.chooses and isinstance(s.axis, list)}


@dataclass(frozen=True)
class Composition:
    """Result of composing overrides.

    Attributes:
        points: every cell of the grid: its plain config, and its axis values. What a search
            draws from within a cell is under the plain config's `search.space`.
        files: a user's config files that they were composed from.
    """

    points: list[tuple[dict[str, Any], dict[str, Any]]]
    files: list[ConfigFile]


def compose_points(overrides: Sequence[str], folders: Sequence[Path] = ()) -> Composition:
    """Compose overrides.

    Args:
        overrides: as typed.
        folders: a user's folders of config files, which come before conf/.

    Raises:
        ConfigError: an override, a key, a choice or a file is wrong.
    """
    with _hydra(overrides, folders) as command:
        return Composition(list(_expand(command)), list(command.files.values()))


def composed_yaml(overrides: Sequence[str], folders: Sequence[Path] = ()) -> str:
    """The composed config as YAML: axes and interpolations as they stand.

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
    """Hydra, initialised on these folders and conf/; its errors come out as a ConfigError."""
    try:
        with session(folders) as loader:
            yield _command(loader, overrides, folders)
    except (HydraException, OmegaConfBaseException, *YAML_ERRORS) as error:
        raise ConfigError(explain(error, overrides, folders)) from error


def _command(loader: ConfigLoader, overrides: Sequence[str], folders: Sequence[Path]) -> _Command:
    parser, known = OverridesParser.create(config_loader=loader), groups(folders)
    parsed = [parse(parser, text, known) for text in overrides]
    settings = drop_replaced(parsed, _optional())
    for setting in settings:
        check_setting(setting, known)
    named = {key for setting in parsed for key in set.intersection(*setting.keys)}
    return _Command(loader, parser, settings, named, known, folders)


def _optional() -> set[str]:
    """The groups of which nothing is chosen by default."""
    defaults: list[Any] = from_yaml((conf_dir() / MAIN).read_text())["defaults"]
    entries = [entry for entry in defaults if isinstance(entry, dict)]
    return {group for entry in entries for group, choice in entry.items() if choice is None}


def _composed(command: _Command, choices: dict[str, Any]) -> DictConfig:
    """Hydra's composition for one choice of groups.

    Raises:
        ConfigError: one of a user's files holds no config.
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
        except (ValueError, TypeError) as error:  # Hydra's too, on values of another type
            raise ConfigError(explain(error, [*fixed, *chosen], command.folders)) from error
    if command.folders or command.searched:
        command.files.update(_files(command, [*fixed, *chosen]))
    return config


def _files(command: _Command, overrides: list[str]) -> Iterator[tuple[str, ConfigFile]]:
    """A user's files that a composition was made from, by name."""
    for file in files_of(command.loader, overrides, command.folders, command.searched):
        if fault := yaml_fault(file.path):
            raise ConfigError(f"{file.path}: {fault}")
        yield file.name, file


def _expand(command: _Command) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for options in itertools.product(*command.choices.values()):
        choices = dict(zip(command.choices, options, strict=True))
        config = _composed(command, choices)
        plain = OmegaConf.to_container(config, resolve=True)
        raw = OmegaConf.to_container(config)
        assert isinstance(plain, dict)
        assert isinstance(raw, dict)
        own = experiment_axes(plain, raw, command.named, command.parser, command.groups)
        inner = [setting for setting in own if setting.chooses]
        if inner:  # an experiment's choices of groups: compose again with each
            yield from _expand(
                replace(
                    command,
                    settings=[*command.settings, *inner],
                    named=command.named | {setting.key for setting in inner},
                )
            )
            continue
        for point, varying in _cells(plain, raw, _steps(own, command.settings)):
            yield point, choices | varying


def _steps(own: list[Setting], typed: list[Setting]) -> list[Setting]:
    """Steps that make a cell of the composed config, in order.

    An experiment's axes, those that were typed, and again what was typed after an axis over
    the same keys: the last one counts.
    """
    steps = list(own)
    for setting in typed:
        if setting.chooses or setting.text.startswith("~"):
            continue
        if setting.axis is not None or any(_overlap(setting.key, s.key) for s in steps):
            steps.append(setting)
    return steps


def _overlap(one: str, other: str) -> bool:
    """Whether one key is the other, or lies in it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _cells(
    plain: Plain, raw: Plain, steps: list[Setting]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The cells of one composition: each one's plain config, and its axis values."""
    grid, space = _searched(plain, steps)
    late = bool(grid) and has_interpolation([raw, *(setting.values for setting in grid)])
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
    """An axis of one value (the papers' size has some) is no axis: it names no trial."""
    return setting.axis is not None and (setting.typed or len(setting.values) > 1)


def _resolved(point: Plain) -> Plain:
    """Plain data with its interpolations resolved."""
    resolved = OmegaConf.to_container(OmegaConf.create(point), resolve=True)
    assert isinstance(resolved, dict)
    return resolved


def _searched(plain: Plain, steps: list[Setting]) -> tuple[list[Setting], dict[str, Any]]:
    """The settings of the grid, and as plain data the space that the search draws from.

    `choice(...)` is drawn from where the search draws, and is an axis like a list elsewhere.
    """
    search = (plain.get("search") or {}).get("name", "grid")
    grid, space = [], {}
    for setting in steps:
        key, axis = setting.key, setting.axis
        if isinstance(axis, Interval):
            if search == "grid":
                raise ConfigError(
                    f"{key} has an interval for an axis, and a grid needs values: give a list or "
                    "range(), or search=random, optuna or frontier"
                )
            space[key] = asdict(_of_kind(key, axis, value_at(plain, key)))
        elif isinstance(axis, Choice) and search in ("random", "optuna"):
            value_at(plain, key)
            space[key] = asdict(axis)
        else:
            grid.append(setting)
    return grid, space


def _of_kind(key: str, axis: Interval, default: Any) -> Interval:
    """The interval, of whole numbers where the key's default is one."""
    if isinstance(default, bool | str | dict | list):
        raise ConfigError(f"{key}={default} is no number: an interval has no meaning there")
    whole = isinstance(default, int) or (default is None and axis.integer)
    if whole and not (float(axis.low).is_integer() and float(axis.high).is_integer()):
        raise ConfigError(f"{key} takes whole numbers, not {axis.low:g} to {axis.high:g}")
    kind = int if whole else float
    return Interval(kind(axis.low), kind(axis.high), axis.scale)
