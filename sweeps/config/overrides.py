"""The door to Hydra's override grammar: parses overrides into settings."""

import random
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from sweeps.config.hydra_errors import no_choice
from sweeps.config.nested import flatten
from sweeps.config.ranges import range_values
from sweeps.config.space import Choice, Interval
from sweeps.config.trial_keys import check_axis
from sweeps.errors import ConfigError

# Brackets of Hydra's grammar.
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Beginning of an interpolation of an environment variable.
_ENVIRONMENT = re.compile(r"\$\{(oc\.env|env_or):")
# An axis: values of a grid, or an interval or choice that a search draws from.
Axis = list[Any] | Interval | Choice


@dataclass(frozen=True)
class Setting:
    """One override, or one axis of an experiment.

    Attributes:
        key: the dotted key, or the group.
        text: as it was typed; empty for an axis of an experiment.
        axis: the values of an axis; None for a single value.
        value: the single value; None for an axis.
        chooses: whether it is a choice of a group of conf/.
        typed: whether it was typed, or comes from an experiment.
    """

    key: str
    text: str
    axis: Axis | None = None
    value: Any = None
    chooses: bool = False
    typed: bool = True

    @property
    def values(self) -> list[Any]:
        """Its values; the two ends of an interval."""
        if isinstance(self.axis, Interval):
            return [self.axis.low, self.axis.high]
        if self.axis is None:
            return [self.value]
        return self.axis.values if isinstance(self.axis, Choice) else self.axis

    @property
    def keys(self) -> list[set[str]]:
        """The keys that each value sets; a mapping sets those in it."""
        return [
            set(flatten({self.key: value})) if isinstance(value, dict) else {self.key}
            for value in self.values
        ]


def parse(parser: OverridesParser, text: str, groups: Iterable[str]) -> Setting:
    """Parse one override.

    Raises:
        ConfigError: it is no override, or has no effect here.
    """
    override = _parsed(parser, text)
    key = str(override.key_or_group)
    swept = override.is_sweep_override()
    _refuse_meaningless(override, text)
    try:
        axis = _axis(override) if swept else None
        setting = Setting(key, text, axis, None if swept else _plain(override.value()))
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{text}: {error}") from error
    if key in groups and _chooses(override, setting):
        return replace(setting, axis=setting.values if swept else None, chooses=True)
    _refuse_groups_name(setting, groups)
    return setting


def _chooses(override: Override, setting: Setting) -> bool:
    """Return whether a setting of a group chooses from it, and does not set keys in it."""
    mappings = [isinstance(value, dict) for value in setting.values]
    if any(mappings) and not all(mappings):
        raise ConfigError(f"{setting.text}: give names of choices, or mappings, not both")
    if override.is_delete() and not isinstance(setting.value, str | None):
        raise ConfigError(f"{setting.text}: to choose nothing, write ~{setting.key}")
    interval = isinstance(setting.axis, Interval)
    return not any(mappings) and not interval and not override.is_delete()


def drop_replaced(settings: Sequence[Setting], optional: Iterable[str]) -> list[Setting]:
    """Drop settings that a later one replaces completely.

    Args:
        settings: in the order in which they were typed.
        optional: groups that may have no choice; a setting such as `experiment=null` is dropped.
    """
    kept: list[Setting] = []
    replaced: set[str] = set()
    for setting in reversed(settings):
        keys = setting.keys
        if setting.chooses:  # replaced by another choice only, not by keys of the choice
            keys = [{f"{setting.key}="}]
        is_replaced = set().union(*keys) <= replaced
        replaced |= set.intersection(*keys)
        if not is_replaced or (setting.axis is None and not setting.chooses):
            kept.append(setting)
    none = {f"{group}=null" for group in optional}
    return [s for s in kept[::-1] if s.text.replace(" ", "") not in none]


def check_setting(setting: Setting, groups: Mapping[str, list[str]]) -> None:
    """Check that an axis changes trials, and that a group has the choices.

    Args:
        setting: the override, or the axis of an experiment.
        groups: the choices of each group.

    Raises:
        ConfigError: it does not.
    """
    axis = setting.axis
    if axis is not None and not (isinstance(axis, list) and len(axis) == 1):
        check_axis(sorted(set().union(*setting.keys)) or [setting.key])
    for value in setting.values if setting.chooses else []:
        names = value if isinstance(value, list) and axis is None else [value]
        if not names or not all(isinstance(name, str) and name for name in names):
            text = setting.text or f"{setting.key}={value}"
            missing = no_choice(text, setting.key, groups[setting.key])
            raise ConfigError(missing, key=setting.key, value=value)


def has_interpolation(value: Any, *, of_keys: bool = False) -> bool:
    """Return whether plain data holds an interpolation.

    Args:
        value: plain data.
        of_keys: count those of other keys only, and not those of environment variables.
    """
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return any(has_interpolation(each, of_keys=of_keys) for each in inner)
    return isinstance(value, str) and "${" in (_ENVIRONMENT.sub("", value) if of_keys else value)


def _parsed(parser: OverridesParser, text: str) -> Override:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ConfigError(f"{text!r} holds control characters, or is not UTF-8")
    try:
        override: Override = parser.parse_overrides([text])[0]
    except (HydraException, RecursionError) as error:
        raise ConfigError(
            f"cannot read the override {text!r}: {_remedy(parser, text, error)}"
        ) from error
    return override


def _remedy(parser: OverridesParser, text: str, error: Exception) -> str:
    """Reason why Hydra cannot parse an override, or how to write it instead."""
    key, equals, value = text.partition("=")
    if not equals:
        return "write KEY=VALUE"
    if mistyped := _mistyped(key, value):
        return mistyped
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    why = lines[1] if lines[0].startswith("Error parsing") and len(lines) > 1 else lines[0]
    if "'<EOF>'" in why:
        return "it ends where a value is expected"
    if not why.startswith(("Lexer", "extraneous", "no viable")):
        return why
    quoted = f"{key}={QuotedString(value, Quote.single).with_quotes()}"
    try:
        parser.parse_overrides([quoted])
    except HydraException:
        return "its key is no key"
    plain = not set(quoted) & set('"$`\\!')
    return f"quote the text, {chr(34) + quoted + chr(34) if plain else shlex.quote(quoted)}"


def _mistyped(key: str, value: str) -> str:
    """Advice on a value that begins or ends as none can; empty for other values."""
    if value.startswith("="):
        return f"write {key}={value.lstrip('=')}, with one equals sign"
    if bracket := _unclosed(value):
        return (
            f"{bracket!r} is not closed; in a shell the whole override stands in quotes, as in "
            "'seed=range(0,3)'"
        )
    if value.startswith("~"):
        try:
            instead = f"{key}={Path(value).expanduser()}"
        except RuntimeError:  # no user of that name
            instead = "the whole path"
        return f"~ has no meaning here, write {instead}"
    return ""


def _unclosed(value: str) -> str:
    """The first bracket of a value that is not closed; empty without one."""
    open_: list[str] = []
    for letter in value:
        if letter in _CLOSING:
            open_.append(letter)
        elif open_ and letter == _CLOSING[open_[-1]]:
            open_.pop()
    return "".join(open_[:1])


def _refuse_meaningless(override: Override, text: str) -> None:
    """Refuse overrides that Hydra accepts and that have no effect here."""
    key = str(override.key_or_group)
    if not key:
        raise ConfigError(f"cannot read the override {text!r}: write KEY=VALUE")
    searchpath = key == "hydra.searchpath" and not override.is_sweep_override()
    if key.replace("/", ".").partition(".")[0] == "hydra" and not searchpath:
        raise ConfigError(
            f"{text}: has no effect here; of Hydra's own keys only hydra.searchpath=[FOLDER] has"
        )
    section, _, axis = key.partition(".")
    if override.is_sweep_override() and section in ("axes", "paper") and axis:
        raise ConfigError(
            f"{text}: an axis is typed by its key alone, {axis}={text.partition('=')[2]}"
        )
    if override.is_sweep_override() and (override.is_delete() or override.package):
        raise ConfigError(f"{text}: an axis is written {key}=VALUE,VALUE")


def _refuse_groups_name(setting: Setting, groups: Iterable[str]) -> None:
    """Refuse `data.name=sphere`: `data=sphere` also sets the keys that belong to the choice."""
    for group in groups:
        if any(f"{group}.name" in keys for keys in setting.keys):
            value = setting.text.partition("=")[2] if setting.key == f"{group}.name" else "NAME"
            raise ConfigError(f"{setting.text}: to choose, write {group}={value}")


def _axis(override: Override) -> Axis:
    """Axis of a sweep override: an interval, a `choice(...)`, or a list of values."""
    swept = override.value()
    if isinstance(swept, IntervalSweep):
        assert swept.start is not None
        assert swept.end is not None
        return Interval(swept.start, swept.end, "log" if "log" in swept.tags else "linear")
    values = _ranged(swept) if isinstance(swept, RangeSweep) else _listed(override)
    if not values:
        what = "matches nothing" if isinstance(swept, Glob) else "has no values"
        raise ConfigError(f"the axis {what}")
    chosen = isinstance(swept, ChoiceSweep) and not swept.simple_form
    return Choice(values) if chosen else values


def _ranged(swept: RangeSweep) -> list[Any]:
    """Values of a range."""
    assert swept.start is not None
    assert swept.stop is not None
    values = range_values(swept.start, swept.stop, swept.step)
    return random.sample(values, len(values)) if swept.shuffle else values


def _listed(override: Override) -> list[Any]:
    """Values that a sweep override lists, as plain data."""
    return [_plain(value) for value in override.sweep_iterator(transformer=lambda x: x)]


def _plain(value: Any) -> Any:
    """A parsed value as plain data.

    Raises:
        ConfigError: it contains a range or an interval.
    """
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, Sweep | Glob):
        raise ConfigError("several intervals or ranges, or values beside one: give one")
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
