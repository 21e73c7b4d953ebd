"""Writes the files of a new project for `sweeps init`."""

import os
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from sweeps.config.config_files import MAIN, PROJECT_FOLDER
from sweeps.errors import ConfigError


def write_project(folder: Path) -> list[str]:
    """Write a project into a folder, which is created if needed.

    Returns:
        The names of the files.

    Raises:
        ConfigError: a file exists already, or the folder cannot be written.
    """
    files = _files(resources.files("sweeps") / "templates" / "project")
    taken = [folder / name for name in (*files, f"{PROJECT_FOLDER}/{MAIN}")]
    existing = [path for path in taken if os.path.lexists(path)]
    # A parent that is a file, or a link to nothing.
    parents = dict.fromkeys(parent for path in taken for parent in path.parents)
    existing += [p for p in parents if os.path.lexists(p) and not p.is_dir()]
    if existing:
        raise ConfigError(f"{existing[0]} is there already: name another folder")
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
    """Texts of the files under a folder, by their relative path."""
    texts: dict[str, str] = {}
    for item in sorted(place.iterdir(), key=lambda item: item.name):
        if item.is_dir() and item.name != "__pycache__":
            texts |= _files(item, f"{prefix}{item.name}/")
        elif item.name.endswith((".py", ".yaml", ".md")):
            texts[prefix + item.name] = item.read_text(encoding="utf-8")
    return texts
