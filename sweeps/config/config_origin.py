"""Finds the user's config file that a wrong key or value comes from."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps.config.config_files import ConfigFile, conf_dir, file_of
from sweeps.config.nested import flatten, overlap
from sweeps.config.trial_keys import SECTIONS, holds_keys
from sweeps.config.yaml_text import YAML_ERRORS, from_yaml
from sweeps.errors import ConfigError

# An entry of a defaults list: `override /data: mine`, `/data: mine`, `data: mine`.
_ENTRY = re.compile(r"^(?:override\s+)?/?([\w/]+)$")
# First line of a file whose keys are those of the whole config.
GLOBAL = "# @package _global_"
# Fault of a key that holds a list where a mapping belongs.
NO_MAPPING = "is a list, and should be a mapping, {KEY: VALUE}"
# Name of a choice.
NAME = re.compile(r"[\w/.-]+")


@contextlib.contextmanager
def naming_file(overrides: Sequence[str], folders: Sequence[Path]) -> Iterator[None]:
    """Put the user's file before an error of the block that is about one of the file's keys.

    Args:
        overrides: as typed; a key that was typed is not blamed on a file.
        folders: the user's folders of config files.
    """
    try:
        yield
    except ConfigError as error:
        file = _file_of_key(error, overrides, folders)
        if file is None:
            raise
        raise ConfigError(f"{file}: {error}", key=error.key, value=error.value) from error


def file_with(text: str, overrides: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """The user's file that a command is composed from and that holds a text; None without one."""
    for file in user_files(overrides, folders):
        if text in _text(file):
            return file
    return None


def user_files(overrides: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """The user's files that overrides choose, and those that these files choose in turn."""
    files: dict[Path, None] = {}
    left = [pair for override in overrides for pair in _choices(override)]
    while left and folders:
        group, name = left.pop()
        file = file_of(f"{group}/{name}", folders)
        if file is None or file in files or file.is_relative_to(conf_dir()):
            continue
        files[file] = None
        left += _defaults(file, group)
    return list(files)


def missing_choice(
    files: Sequence[Path], groups: Mapping[str, Sequence[str]]
) -> tuple[Path, str, str] | None:
    """Return the file that names a choice that does not exist, with its group and the choice."""
    for file in files:
        for group, name in _defaults(file, file.parent.name):
            is_name = NAME.fullmatch(name) and name not in ("_self_", "None")
            if is_name and name not in groups.get(group, [name]):
                return file, group, name
    return None


def _choices(override: str) -> list[tuple[str, str]]:
    """(group, choice) pairs of an override that may choose; Hydra takes NAME.yaml for NAME."""
    key, _, value = override.lstrip("+").partition("=")
    names = [name.strip().removesuffix(".yaml") for name in value.split(",")]
    return [(key.partition("@")[0], name) for name in names]


def _defaults(file: Path, group: str) -> Iterator[tuple[str, str]]:
    """(group, choice) pairs of a file's defaults list."""
    entries = _content(file).get("defaults")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            yield group, entry
        for key, value in entry.items() if isinstance(entry, dict) else []:
            if match := _ENTRY.match(str(key)):
                yield match[1], str(value)


def _file_of_key(
    error: ConfigError, overrides: Sequence[str], folders: Sequence[Path]
) -> Path | None:
    """The user's file that sets the key that an error is about; None where none does."""
    if not error.key or any(_types(override, error, folders) for override in overrides):
        return None
    for file in user_files(overrides, folders):
        if any(overlap(key, error.key) for key in _keys(file)):
            return file
    return None


def _types(override: str, error: ConfigError, folders: Sequence[Path]) -> bool:
    """Return whether an override sets the wrong key, beyond choosing a file that sets it."""
    choices = _choices(override)
    if any(file_of(f"{group}/{name}", folders) for group, name in choices):
        return (error.key, error.value) in choices
    return overlap(override.lstrip("+~").partition("=")[0], error.key)


def _keys(file: Path) -> set[str]:
    """Dotted keys that a file sets, those of its axes included."""
    content = _content(file)
    content.pop("defaults", None)
    # A file without a package sets the keys of its group.
    package = "" if _has_package(_text(file)) else f"{file.parent.name}."
    keys = {*content, *flatten(content)}
    axes = {key.partition(".")[2] for key in keys if key.startswith(("axes.", "paper."))}
    return {f"{package}{key}" for key in keys} | axes


def package_fault(file: ConfigFile) -> str:
    """Fault of a file that is empty, or that names no package and is of a group that needs one."""
    group, is_empty = file.name.partition("/")[0], not from_yaml(file.text)
    if group in SECTIONS:
        return f"it is empty: write the keys of {group} into it, its name first" * is_empty
    if _has_package(file.text):
        return ""
    if is_empty:
        return f"it is empty: its first line must be '{GLOBAL}', then KEY: VALUE"
    return f"its first line must be '{GLOBAL}', or its keys are {group}.KEY"


def wrong_list(file: Path) -> str:
    """Fault of a file that has a list where a mapping belongs; empty without one."""
    package = "" if _has_package(_text(file)) else f"{file.parent.name}."
    lists = (f"{package}{key}" for key, v in flatten(_content(file)).items() if isinstance(v, list))
    key = next(filter(holds_keys, lists), "")
    return f"{key} {NO_MAPPING}" if key else ""


def _has_package(text: str) -> bool:
    """Return whether a config file says in which package its keys are, as `# @package _global_`."""
    return "@package" in text


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _content(file: Path) -> dict[Any, Any]:
    """Content of a config file; empty where it is no mapping."""
    with contextlib.suppress(*YAML_ERRORS):
        content: Any = from_yaml(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}
