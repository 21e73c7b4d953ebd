"""What shell completion offers for an override: groups, keys, choices and values.

Quick: neither Hydra nor torch is imported. Keys come from a file that `make reference`
writes from the config dataclasses; choices are the files of conf/ and of a
user's own folders.
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

# Where a command keeps what its --config-dir names.
CONFIG_DIR = "config_dir"
WORDS = Path(__file__).parent / "words.json"
# Keys whose value is a path.
PATHS = {"data.path": "file", "data.cache": "dir", "paths.output": "dir"}


def complete_override(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The overrides that may be meant; after `KEY=A,` another value of the axis."""
    del parameter
    key, equals, value = incomplete.partition("=")
    folders = _folders(context)
    return _values(key, value, folders) if equals else _keys(incomplete, typed(context), folders)


def _folders(context: click.Context) -> Sequence[Path]:
    """A user's folders of config files; none where the one that is named cannot be used."""
    try:
        return user_folders(context.meta.get(CONFIG_DIR))
    except (ConfigError, OSError):
        return ()


def typed(context: click.Context) -> list[str]:
    """The words of the command so far, options aside."""
    found: list[str] = []
    for value in context.params.values():
        found += [value] if isinstance(value, str) else value if isinstance(value, tuple) else []
    return found


def _values(key: str, value: str, folders: Sequence[Path]) -> list[CompletionItem[str]]:
    if key in PATHS:
        return [CompletionItem(value, type=PATHS[key])]
    before, comma, last = value.rpartition(",")
    given = before.split(",")
    known = groups(folders).get(key) or _keys_file().get(key, {}).get("values", [])
    return [
        CompletionItem(f"{key}={before}{comma}{word}")
        for word in known
        if word.startswith(last) and word not in given
    ]


def _keys(
    incomplete: str, words: Iterable[str], folders: Sequence[Path]
) -> list[CompletionItem[str]]:
    """Groups and keys, as far as their next dot."""
    ours = groups()
    chosen = dict(word.partition("=")[::2] for word in words)
    found = {f"{group}=": f"one of {', '.join(names)}" for group, names in groups(folders).items()}
    for key, entry in _keys_file().items():
        group = key.partition(".")[0]
        named = chosen.get(group, "").split(",")
        # Another than ours is a user's, which may have any key of the group.
        own = any(name not in ours.get(group, []) for name in named)
        if own or not entry["choices"] or set(named) & set(entry["choices"]):
            found[f"{key}="] = entry["meaning"]
    offered: dict[str, str] = {}
    for name, meaning in found.items():
        if name.startswith(incomplete):
            step, dot, _ = name[len(incomplete) :].partition(".")
            offered.setdefault(incomplete + step + dot, "" if dot else meaning)
    return [CompletionItem(name, help=meaning or None) for name, meaning in offered.items()]


@functools.cache
def _keys_file() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(WORDS.read_text())
    return found
