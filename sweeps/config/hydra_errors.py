"""Hydra's errors as one line, with the nearest correct name or what to write instead."""

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from yaml import MarkedYAMLError

from sweeps.config import config_files
from sweeps.config.config_files import ConfigFile
from sweeps.config.config_origin import (
    NAME,
    NO_MAPPING,
    file_with,
    missing_choice,
    package_fault,
    user_files,
    wrong_list,
)
from sweeps.config.misspellings import OTHER_NAMES, nearest
from sweeps.config.nested import flatten
from sweeps.config.trial_keys import holds_keys, is_mapping
from sweeps.config.yaml_text import YAML_ERRORS, from_yaml, yaml_fault
from sweeps.errors import ConfigError

_NO_CHOICE = re.compile(r"Could not (?:find|load) '(\w+)/([^']*)'")
# Beginning of an error on a file; end of its first line where the second says what is wrong.
_IN_FILE = re.compile(r"In '([^']+)': ")
_CUT = "raised while composing config:"
# Text that an error quotes from a file.
_QUOTED = re.compile(r"'([^']{4,})'")


def explain(
    error: BaseException, overrides: Sequence[str], folders: Sequence[Path] = ()
) -> ConfigError:
    """Error of Hydra as one line: the wrong override, and the remedy.

    Args:
        error: raised by Hydra.
        overrides: as typed.
        folders: the user's folders of config files.
    """
    choices = config_files.groups(folders)
    typed = [(override.lstrip("+~").partition("=")[0], override) for override in overrides]
    missing = _NO_CHOICE.search(str(error))
    for key, override in typed:
        if key in choices and _lacks(error, override, choices[key]):
            return ConfigError(no_choice(override, key, *_readable(key, choices[key], folders)))
    in_file = "" if missing else _in_file(str(error), folders)
    if fault := _broken(error, overrides, folders) or in_file:
        return ConfigError(fault)
    text = _text(error)
    if missing and missing[1] in choices:
        text = _no_choice_named(missing[1], missing[2], folders)
        file = file_with(missing[2], overrides, folders)
        return ConfigError(f"{file}: it names {text}" if file else text)
    about = str(getattr(error, "full_key", None) or "")
    for quoted in _QUOTED.findall(text):
        is_typed = any(quoted in override for override in overrides)
        if not is_typed and (file := file_with(quoted, overrides, folders)):
            return ConfigError(f"{file}: {about}: {text}" if about else f"{file}: {text}")
    # The wrong key, which may lie inside a mapping that was typed.
    wrong = str(getattr(error.__cause__, "full_key", None) or "")
    # The longer key first: with `search=optuna search.trials=3` the error is about the latter.
    typed.sort(key=lambda item: (item[1] not in str(error), -len(item[0])))
    for key, override in typed:
        if key and (key in text or key == about):
            wrong = wrong if wrong.startswith(f"{key}.") else key
            return ConfigError(_on_key(override, wrong, text, folders))
    return ConfigError(f"{about}: {text}" if about and about not in text else text, key=about)


def no_choice(override: str, group: str, choices: Sequence[str], broken: Sequence[str] = ()) -> str:
    """Error message for a choice that the group does not have.

    Args:
        override: as typed.
        group: the group.
        choices: its choices.
        broken: faults of files of this group that cannot be read.
    """
    name = override.rpartition("=")[2].rpartition(",")[2].strip()
    return f"{override}: no such {group}{_existing(name, choices, broken)}"


def _no_choice_named(group: str, name: str, folders: Sequence[Path]) -> str:
    """Error message for a choice, named in a file, that does not exist."""
    readable = _readable(group, config_files.groups(folders)[group], folders)
    return f"'{group}/{name}': no such {group}{_existing(name, *readable)}"


def _existing(name: str, choices: Sequence[str], broken: Sequence[str] = ()) -> str:
    """End of an error message: the choice nearest to a name, all choices, and broken files."""
    close = difflib.get_close_matches(name, choices, n=1)
    near = f"; the nearest is {close[0]}" if close else ""
    remarks = [*filter(None, [config_files.why_unused()]), *broken]
    notes = f" ({'; '.join(remarks)})" if remarks else ""
    return f"{near}; there is {', '.join(choices)}{notes}"


def _readable(
    group: str, choices: Sequence[str], folders: Sequence[Path]
) -> tuple[list[str], list[str]]:
    """Choices of a group that can be read, and the faults of the user's other files of it."""
    ours = config_files.conf_dir()
    faults = {}
    for name in choices:
        places = [folder / f"{group}/{name}.yaml" for folder in (*folders, ours)]
        file = next((place for place in places if os.path.lexists(place)), ours)
        if not file.is_relative_to(ours) and (fault := yaml_fault(file)):
            faults[name] = f"{file} cannot be read: {fault}"
    renamed = [
        f"{file} is not read: rename it to {file.stem}.yaml"
        for file in config_files.misnamed(group, folders)
    ]
    return [name for name in choices if name not in faults], [*faults.values(), *renamed]


def _lacks(error: BaseException, override: str, choices: Sequence[str]) -> bool:
    """Return whether an override of a group names a choice that does not exist.

    Where another file of the group cannot be read, Hydra's error is about that file.
    """
    if missing := _NO_CHOICE.search(str(error)):
        return override.lstrip("+~").startswith(f"{missing[1]}=") and missing[2] in override
    names = [name.strip() for name in override.partition("=")[2].split(",")]
    plain = [name for name in names if NAME.fullmatch(name) and name != "null"]
    return isinstance(error, YAML_ERRORS) and not set(plain) <= set(choices)


def _broken(error: BaseException, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """Fault of a user's file that cannot be read as a config; empty where that is not the cause."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}"
    if not isinstance(error, YAML_ERRORS):
        return ""
    chosen = user_files(overrides, folders)
    anywhere = [file for folder in folders for file in sorted(folder.glob("*/**/*.yaml"))]
    # Hydra reads all files of a group to list its choices: a broken one hides a missing choice.
    if fault := _first_fault(chosen) or _missing(chosen, folders) or _first_fault(anywhere):
        return fault
    if isinstance(error, RecursionError):
        where = f"{chosen[0]}: it" if chosen else "a config file"
        return f"{where} holds itself, by the defaults of the files that it names, or by an alias"
    return ""


def _in_file(text: str, folders: Sequence[Path]) -> str:
    """Fault of the user's file that an error of Hydra is about; empty where it is of another kind.

    Hydra names the file, but not the key.
    """
    name = match[1] if (match := _IN_FILE.match(text)) else ""
    file = config_files.file_of(name, folders) if name else None
    if file is None or file.is_relative_to(config_files.conf_dir()):
        return ""
    content = file.read_text(encoding="utf-8")
    fault = wrong_list(file) or package_fault(ConfigFile(f"{name}.yaml", file, content, False))
    return f"{file}: {fault}" if fault else ""


def _first_fault(files: Sequence[Path]) -> str:
    """Return the fault of the first file that cannot be read as a config; empty if all can."""
    faults = ((file, yaml_fault(file)) for file in files)
    return next((f"{file}: {fault}" for file, fault in faults if fault), "")


def _missing(files: Sequence[Path], folders: Sequence[Path]) -> str:
    """Return the fault of the first file that names a missing choice; empty if none does."""
    named = missing_choice(files, config_files.groups(folders))
    return f"{named[0]}: it names {_no_choice_named(*named[1:], folders)}" if named else ""


def _text(error: BaseException) -> str:
    """First line of the error's text, or of its cause's where it has none."""
    while not str(error).strip() and error.__cause__:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(_CUT):
        return f"{lines[0]} {lines[1]}"
    return lines[0].partition(" : Override(")[0] if lines else type(error).__name__


def _on_key(override: str, key: str, text: str, folders: Sequence[Path]) -> str:
    if text.startswith("Error merging") and "=[" in override and holds_keys(key):
        return f"{override}: {key} {NO_MAPPING}"
    if not text.startswith("Could not override"):
        return text if override in text else f"{override}: {text}"
    if key in config_files.groups(folders) and key not in config_files.groups():
        return f"{override}: {key} is a group of your own: choose from it by '+{override}'"
    if is_mapping(key):
        return f"{override}: its mapping takes a new key with a plus only, '+{override}'"
    return f"{override}: no such key{_belonging(key, folders)}"


def _belonging(key: str, folders: Sequence[Path]) -> str:
    """End of an error message on a key: the choices that have it, or the nearest known key."""
    group = key.partition(".")[0]
    known_groups = config_files.groups(folders)
    options = known_groups.get(group, [])
    choices = {option: _keys_of(group, option, folders) for option in options}
    having = [option for option, keys in choices.items() if key in keys]
    if having:
        return f" here: it belongs to {group}={' or '.join(having)}"
    meant = OTHER_NAMES.get(key, key)
    having = [option for option, keys in choices.items() if meant in keys]
    if having and len(having) < len(choices):
        return f": did you mean {meant!r} of {group}={' or '.join(having)}?"
    known = list(flatten(from_yaml((config_files.conf_dir() / config_files.MAIN).read_text())))
    known += [key for keys in choices.values() for key in keys]
    known += [] if "." in key else known_groups
    return nearest(key, [name for name in known if name != "defaults"])


def _keys_of(group: str, option: str, folders: Sequence[Path]) -> list[str]:
    """Dotted keys, such as `data.n`, of a group's choice; none of a broken file."""
    path = config_files.file_of(f"{group}/{option}", folders)
    if path is None or yaml_fault(path):
        return []
    keys = flatten(from_yaml(path.read_text(encoding="utf-8")) or {})
    return [f"{group}.{key}" for key in keys]
