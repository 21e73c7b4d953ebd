"""Hydra's errors as one line, with the nearest correct name or what to write instead."""

import re
from collections.abc import Sequence
from pathlib import Path

from yaml import MarkedYAMLError

from sweeps.config import config_files
from sweeps.config.nested import flatten, nearest
from sweeps.config.trial_keys import is_mapping
from sweeps.config.yaml_text import YAML_ERRORS, from_yaml, yaml_fault

_NO_CHOICE = re.compile(r"Could not find '(\w+)/([^']*)'")


def explain(error: BaseException, overrides: Sequence[str], folders: Sequence[Path] = ()) -> str:
    """Explain an error of Hydra in one line: the wrong override, and the remedy.

    Args:
        error: raised by Hydra.
        overrides: as typed.
        folders: the user's folders of config files.
    """
    if fault := _broken(error, folders):
        return fault
    choices = config_files.groups(folders)
    typed = [(override.lstrip("+~").partition("=")[0], override) for override in overrides]
    missing = _NO_CHOICE.search(str(error))
    for key, override in typed:
        if missing and key == missing[1] and missing[2] in override and key in choices:
            return no_choice(override, key, choices[key])
    text = _text(error)
    # The wrong key, which may lie inside a mapping that was typed.
    wrong = str(getattr(error.__cause__, "full_key", None) or "")
    about = str(getattr(error, "full_key", None) or "")
    # The longer key first: with `search=optuna search.trials=3` the error is about the latter.
    typed.sort(key=lambda item: (item[1] not in str(error), -len(item[0])))
    for key, override in typed:
        if key and (key in text or key == about):
            wrong = wrong if wrong.startswith(f"{key}.") else key
            return _on_key(override, wrong, text, folders)
    return f"{about}: {text}" if about and about not in text else text


def no_choice(override: str, group: str, choices: Sequence[str]) -> str:
    """Error message for a choice that the group does not have."""
    reason = config_files.why_unused()
    unused = f" ({reason})" if reason else ""
    return f"{override}: no such {group}; there is {', '.join(choices)}{unused}"


def _broken(error: BaseException, folders: Sequence[Path]) -> str:
    """Fault of a user's file that cannot be read as a config; empty where that is not the cause."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}"
    if not isinstance(error, YAML_ERRORS):
        return ""
    for file in (file for folder in folders for file in folder.glob("*/**/*.yaml")):
        if fault := yaml_fault(file):
            return f"{file}: {fault}"
    if isinstance(error, RecursionError):
        return "a config file holds itself, by its defaults or an alias"
    return ""


def _text(error: BaseException) -> str:
    """First line of the error's text, or of its cause's where it has none."""
    while not str(error).strip() and error.__cause__:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].partition(" : Override(")[0] if lines else type(error).__name__


def _on_key(override: str, key: str, text: str, folders: Sequence[Path]) -> str:
    if not text.startswith("Could not override"):
        return text if override in text else f"{override}: {text}"
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
    known = list(flatten(from_yaml((config_files.conf_dir() / config_files.MAIN).read_text())))
    known += [*known_groups, *(key for keys in choices.values() for key in keys)]
    return nearest(key, [name for name in known if name != "defaults"])


def _keys_of(group: str, option: str, folders: Sequence[Path]) -> list[str]:
    """Dotted keys, such as `data.n`, of a group's choice; none of a broken file."""
    path = config_files.file_of(f"{group}/{option}", folders)
    if path is None or yaml_fault(path):
        return []
    keys = flatten(from_yaml(path.read_text(encoding="utf-8")) or {})
    return [f"{group}.{key}" for key in keys]
