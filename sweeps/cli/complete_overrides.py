"""Shell completion of overrides: groups, keys, choices and values.

It imports neither Hydra nor torch. Keys come from completions.json, which `make reference` writes
from the config dataclasses; choices are the files in conf/ and in the user's own folders.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sweeps.config.config_files import groups, user_folders
from sweeps.errors import ConfigError

# Key of click's context.meta that holds the value of --config-dir.
CONFIG_DIR = "config_dir"
WORDS = Path(__file__).parent / "completions.json"
# Keys whose value is a path, and what click completes them with.
PATHS = {"data.path": "file", "data.cache": "dir", "paths.output": "dir"}


def complete_override(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete a group, a key or a value; after `KEY=A,` another value of the axis."""
    del parameter
    folders = _folders(context)
    if incomplete.startswith("+"):
        return _own_groups(incomplete.removeprefix("+"), folders)
    key, equals, value = incomplete.partition("=")
    return (
        _values(key, value, folders) if equals else _keys(incomplete, typed_words(context), folders)
    )


def _own_groups(incomplete: str, folders: Sequence[Path]) -> list[CompletionItem[str]]:
    """Complete after `+`: the user's own groups, and their choices."""
    key, equals, value = incomplete.partition("=")
    own = {group: names for group, names in groups(folders).items() if group not in groups()}
    if equals:
        items = _values(key, value, folders) if key in own else []
        return [CompletionItem(f"+{item.value}") for item in items]
    return [
        CompletionItem(f"+{group}=", help=f"one of {', '.join(names)}")
        for group, names in own.items()
        if group.startswith(incomplete)
    ]


def _folders(context: click.Context) -> Sequence[Path]:
    """The user's folders of config files; none if --config-dir cannot be used."""
    try:
        return user_folders(context.meta.get(CONFIG_DIR))
    except (ConfigError, OSError):
        return ()


def typed_words(context: click.Context) -> list[str]:
    """Arguments typed so far, without flags."""
    words: list[str] = []
    for value in context.params.values():
        words += [value] if isinstance(value, str) else value if isinstance(value, tuple) else []
    return words


def _values(key: str, value: str, folders: Sequence[Path]) -> list[CompletionItem[str]]:
    """Values of a key that begin with the text after the last comma."""
    if key in PATHS:
        return [CompletionItem(value, type=PATHS[key])]
    before, comma, last = value.rpartition(",")
    given = before.split(",")
    values = groups(folders).get(key) or _keys_file().get(key, {}).get("values", [])
    return [
        CompletionItem(f"{key}={before}{comma}{word}")
        for word in values
        if word.startswith(last) and word not in given
    ]


def _keys(
    incomplete: str, words: Iterable[str], folders: Sequence[Path]
) -> list[CompletionItem[str]]:
    """Groups and keys, up to their next dot."""
    shipped = groups()
    chosen = dict(word.partition("=")[::2] for word in words)
    meanings = {
        f"{group}=": f"one of {', '.join(names)}"
        for group, names in groups(folders).items()
        if group in shipped
    }
    for key, entry in _keys_file().items():
        group = key.partition(".")[0]
        choices = chosen.get(group, "").split(",")
        # A user's own choice may have any key of the group.
        own = any(name not in shipped.get(group, []) for name in choices)
        if own or not entry["choices"] or set(choices) & set(entry["choices"]):
            meanings[f"{key}="] = entry["meaning"]
    offered: dict[str, str] = {}
    for name, meaning in meanings.items():
        if name.startswith(incomplete):
            step, dot, _ = name[len(incomplete) :].partition(".")
            offered.setdefault(incomplete + step + dot, "" if dot else meaning)
    return [CompletionItem(name, help=meaning or None) for name, meaning in offered.items()]


@functools.cache
def _keys_file() -> dict[str, dict[str, Any]]:
    keys: dict[str, dict[str, Any]] = json.loads(WORDS.read_text())
    return keys
