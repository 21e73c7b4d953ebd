"""A small project of a user's own: the files that `sweeps init` writes."""

import os
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from sweeps.config.config_files import MAIN, PROJECT_FOLDER
from sweeps.errors import ConfigError


def write_project(folder: Path) -> list[str]:
    """Write the project into a folder, which is made where there is none; the files' names.

    Raises:
        ConfigError: one of the files is there already, or the folder cannot be written.
    """
    files = _files(resources.files("sweeps") / "templates" / "project")
    taken = [folder / name for name in (*files, f"{PROJECT_FOLDER}/{MAIN}")]
    there = [path for path in taken if os.path.lexists(path)]
    there += [path.parent for path in taken if path.parent.exists() and not path.parent.is_dir()]
    if there:
        raise ConfigError(f"{there[0]} is there already: name another folder")
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be written: {error.strerror}"
        ) from error
    return list(files)


def _files(place: Traversable, prefix: str = "") -> dict[str, str]:
    """The texts under a folder, by their names in it."""
    found: dict[str, str] = {}
    for item in sorted(place.iterdir(), key=lambda item: item.name):
        if item.is_dir() and item.name != "__pycache__":
            found |= _files(item, f"{prefix}{item.name}/")
        elif item.name.endswith((".py", ".yaml", ".md")):
            found[prefix + item.name] = item.read_text(encoding="utf-8")
    return found
