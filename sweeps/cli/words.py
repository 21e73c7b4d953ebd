"""What shell completion offers for an override: groups, keys, choices and values.

Quick: neither Hydra nor torch is imported. Keys come from a file that `make reference`
writes from the config dataclasses; choices are the files of conf/.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sweeps.groups import groups

WORDS = Path(__file__).parent / "words.json"
# Keys whose value is a path.
PATHS = {"data.path": "file", "data.cache": "dir", "paths.output": "dir"}


def complete_override(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The overrides that may be meant; after `KEY=A,` another value of the axis."""
    del parameter
    key, equals, value = incomplete.partition("=")
    return _values(key, value) if equals else _keys(incomplete, typed(context))


def typed(context: click.Context) -> list[str]:
    """The words of the command so far, options aside."""
    found: list[str] = []
    for value in context.params.values():
        found += [value] if isinstance(value, str) else value if isinstance(value, tuple) else []
    return found


def _values(key: str, value: str) -> list[CompletionItem[str]]:
    if key in PATHS:
        return [CompletionItem(value, type=PATHS[key])]
    before, comma, last = value.rpartition(",")
    given = before.split(",")
    known = groups().get(key) or _keys_file().get(key, {}).get("values", [])
    return [
        CompletionItem(f"{key}={before}{comma}{word}")
        for word in known
        if word.startswith(last) and word not in given
    ]


def _keys(incomplete: str, words: Iterable[str]) -> list[CompletionItem[str]]:
    """Groups and keys, as far as their next dot."""
    chosen = dict(word.partition("=")[::2] for word in words)
    found = {f"{group}=": f"one of {', '.join(names)}" for group, names in groups().items()}
    for key, entry in _keys_file().items():
        if _fits(key, entry["choices"], chosen):
            found[f"{key}="] = entry["meaning"]
    offered: dict[str, str] = {}
    for name, meaning in found.items():
        if name.startswith(incomplete):
            step, dot, _ = name[len(incomplete) :].partition(".")
            offered.setdefault(incomplete + step + dot, "" if dot else meaning)
    return [CompletionItem(name, help=meaning or None) for name, meaning in offered.items()]


def _fits(key: str, choices: list[str], chosen: dict[str, str]) -> bool:
    """Whether a key is one of what its group was set to."""
    named = chosen.get(key.partition(".")[0], "")
    return not choices or not named or any(name in choices for name in named.split(","))


@functools.cache
def _keys_file() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(WORDS.read_text())
    return found
