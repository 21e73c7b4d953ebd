"""Hydra's errors in one line, with the nearest right name or what to write instead."""

import re
from collections.abc import Sequence

from sweeps import groups
from sweeps.plain import flattened, from_yaml, nearest
from sweeps.trial_keys import is_mapping

_NO_CHOICE = re.compile(r"Could not find '(\w+)/([^']*)'")


def explained(error: BaseException, overrides: Sequence[str]) -> str:
    """One line on an error of Hydra's: which override is wrong, and what is right."""
    typed = [(override.lstrip("+~").partition("=")[0], override) for override in overrides]
    missing = _NO_CHOICE.search(str(error))
    for key, override in typed:
        if missing and key == missing[1] and key in groups.groups():
            return no_choice(override, key)
    text = _text(error)
    # The key inside a mapping, where the mapping was typed.
    wrong = str(getattr(error.__cause__, "full_key", None) or "")
    about = str(getattr(error, "full_key", None) or "")
    # Of `search=optuna search.trials=3` the longer key is the one it is about.
    typed.sort(key=lambda item: (item[1] not in str(error), -len(item[0])))
    for key, override in typed:
        if key and (key in text or key == about):
            return _on_key(override, wrong if wrong.startswith(f"{key}.") else key, text)
    return text


def no_choice(override: str, group: str) -> str:
    """An error message: the group has no such choice."""
    return f"{override}: no such {group}; there is {', '.join(groups.groups()[group])}"


def _text(error: BaseException) -> str:
    """The first line that an error, or what it came from, has."""
    while not str(error).strip() and error.__cause__:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].partition(" : Override(")[0] if lines else type(error).__name__


def _on_key(override: str, key: str, text: str) -> str:
    if not text.startswith("Could not override"):
        return text if override in text else f"{override}: {text}"
    if is_mapping(key):
        return f"{override}: its mapping takes a new key with a plus only, '+{override}'"
    return f"{override}: no such key{_belonging(key)}"


def _belonging(key: str) -> str:
    """The end of an error message on a key: the choices that have it, or the nearest known."""
    group = key.partition(".")[0]
    choices = {option: _keys_of(group, option) for option in groups.groups().get(group, [])}
    having = [option for option, keys in choices.items() if key in keys]
    if having:
        return f" here: it belongs to {group}={' or '.join(having)}"
    known = list(flattened(from_yaml((groups.conf_dir() / "config.yaml").read_text())))
    known += [*groups.groups(), *(key for keys in choices.values() for key in keys)]
    return nearest(key, [name for name in known if name != "defaults"])


def _keys_of(group: str, option: str) -> list[str]:
    """The dotted keys that a choice of a group brings, `data.n` say."""
    text = (groups.conf_dir() / group / f"{option}.yaml").read_text()
    return [f"{group}.{key}" for key in flattened(from_yaml(text))]
