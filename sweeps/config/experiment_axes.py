"""Axes that an experiment file declares under `axes` and `paper`."""

from collections.abc import Collection, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from sweeps.config.overrides import Axis, Setting, check_setting, has_interpolation, parse
from sweeps.errors import ConfigError

Plain = dict[Any, Any]


def experiment_axes(
    plain: Plain,
    raw: Plain,
    named: Collection[str],
    parser: OverridesParser,
    groups: Mapping[str, list[str]],
) -> list[Setting]:
    """Axes of an experiment at the chosen size.

    Args:
        plain: the composed config.
        raw: the composed config with unresolved interpolations.
        named: keys that were typed; axes over them are left out.
        parser: Hydra's override parser.
        groups: the choices of each group.

    Raises:
        ConfigError: a key cannot be an axis, or a value is wrong.
    """
    declared: dict[str, Any] = {}
    written: dict[str, Any] = {}
    for name in ("axes", "paper") if plain.get("size") == "paper" else ("axes",):
        part = plain.get(name) or {}
        if not isinstance(part, dict):
            text = f"{name} must map keys to values, e.g. {{model.width: [64, 128]}}"
            raise ConfigError(text, key=name)
        declared |= {str(key): value for key, value in part.items()}
        as_written = raw[name] if isinstance(raw[name], dict) else part
        written |= {str(key): value for key, value in as_written.items()}
    settings = [
        _setting(key, _axis(key, values, written[key], parser, groups), groups)
        for key, values in declared.items()
        if key not in named
    ]
    for setting in settings:
        check_setting(setting, groups)
    return settings


def _axis(
    key: str, values: Any, written: Any, parser: OverridesParser, groups: Collection[str]
) -> Axis:
    """An axis of an experiment file: a list, or text in Hydra's sweep grammar.

    Args:
        key: the axis' key.
        values: its values, with interpolations resolved.
        written: its values as in the file; interpolations are resolved for each trial.
        parser: Hydra's override parser.
        groups: names of the groups.
    """
    if isinstance(values, str):
        try:
            setting = parse(parser, f"{key}={values}", groups)
        except ConfigError as error:
            raise ConfigError(f"the axis {key!r}: {error}", key=key) from error
        depends = has_interpolation(written, of_keys=True)
        return setting.axis or [written if depends else setting.value]
    if values == []:
        raise ConfigError(f"the axis {key!r} has no values", key=key)
    if isinstance(values, list):
        return list(written if isinstance(written, list) else values)
    return [written]


def _setting(key: str, axis: Axis, groups: Collection[str]) -> Setting:
    """The axis as a setting; a single choice of a group is not an axis."""
    setting = Setting(key, "", axis, typed=False)
    values = setting.values
    if key not in groups or any(isinstance(value, dict) for value in values):
        return setting
    if len(values) == 1:
        return Setting(key, f"{key}={values[0]}", value=values[0], chooses=True, typed=False)
    return Setting(key, "", values, chooses=True, typed=False)
