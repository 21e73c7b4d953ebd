"""Folders of config files, the user's and ours, and the choices of their groups."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import ConfigError

# The main config. A user's folder must not have one: Hydra reads one only.
MAIN = "config.yaml"
# Folder of config files in the current folder that is used without being named.
PROJECT_FOLDER = "conf"


@dataclass(frozen=True)
class ConfigFile:
    """A user's config file that a command was composed from.

    Attributes:
        name: its path in its folder, e.g. `experiment/first.yaml`.
        path: the file.
        text: its content.
        hides: whether it replaces one of our files.
    """

    name: str
    path: Path
    text: str
    hides: bool


def conf_dir() -> Path:
    """Our conf/: in the package as the wheel installs it, or beside it in a checkout."""
    in_package = Path(__file__).parents[1] / "conf"
    return in_package if in_package.is_dir() else Path(__file__).parents[2] / "conf"


def user_folders(config_dir: str | Path | None = None) -> tuple[Path, ...]:
    """The user's folders of config files, in order of precedence: `config_dir`, then ./conf.

    Args:
        config_dir: value of `--config-dir`; None without it.

    Raises:
        ConfigError: `config_dir` cannot be used.
    """
    named = [] if config_dir is None else [_named(config_dir)]
    project = Path(PROJECT_FOLDER)
    is_used = _has_choices(project) and not why_unused()
    folders = [*named, *[project.resolve()] * is_used]
    ours = conf_dir().resolve()
    return tuple(folder for folder in dict.fromkeys(folders) if folder != ours)


def why_unused() -> str:
    """Reason why ./conf is not used although it has choices for our groups; else empty."""
    folder = Path(PROJECT_FOLDER)
    if not _has_choices(folder) or not (folder / MAIN).exists():
        return ""
    if folder.resolve() == conf_dir().resolve():
        return ""
    return f"{PROJECT_FOLDER}/ here is not searched: its {MAIN} makes it another program's"


def groups(folders: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Choices of every group, in alphabetical order.

    Args:
        folders: the user's, in addition to ours.
    """
    choices: dict[str, set[str]] = {}
    for folder in (conf_dir(), *folders):
        for file in folder.glob("*/**/*.yaml"):
            group, *rest = file.relative_to(folder).with_suffix("").parts
            choices.setdefault(group, set()).add("/".join(rest))
    return {group: sorted(choices[group]) for group in sorted(choices)}


def file_of(name: str, folders: Sequence[Path] = ()) -> Path | None:
    """File of a choice such as `data/digits`, from the first folder that has it."""
    places = [folder / f"{name}.yaml" for folder in (*folders, conf_dir())]
    return next((place for place in places if place.is_file()), None)


def misnamed(group: str, folders: Sequence[Path]) -> list[Path]:
    """Files of a group that end in .yml, which Hydra does not read; those of ./conf too."""
    project = [] if why_unused() else [Path(PROJECT_FOLDER).resolve()]
    places = dict.fromkeys([*folders, *project])
    return [file for folder in places for file in sorted((folder / group).glob("**/*.yml"))]


def _named(config_dir: str | Path) -> Path:
    """Resolve and check the value of `--config-dir`.

    Raises:
        ConfigError: the folder cannot be used.
    """
    if not isinstance(config_dir, str | Path):
        raise ConfigError(f"config_dir={config_dir!r}: name a folder, as text")
    folder, option = Path(config_dir).absolute(), f"--config-dir {shlex.quote(str(config_dir))}"
    if not str(config_dir).strip():
        raise ConfigError(f"{option}: name a folder, or leave the option out")
    try:
        exists = folder.exists()
    except OSError as error:  # a name too long, or another user's folder
        raise ConfigError(f"{option}: {error.strerror}") from error
    if not exists:
        raise ConfigError(f"{option}: there is no such folder")
    if not folder.is_dir():
        raise ConfigError(
            f"{option}: it is a file; name the folder that holds experiment/ or data/"
        )
    folder = folder.resolve()
    if folder == conf_dir().resolve():
        return folder
    if next(folder.glob("*/**/*.yaml"), None) is None:
        raise ConfigError(f"{option}: it holds no choice for a group, no experiment/NAME.yaml say")
    if not _has_choices(folder) and _has_choices(folder / PROJECT_FOLDER):
        raise ConfigError(
            f"{option}: its files are in {PROJECT_FOLDER}/: name {folder / PROJECT_FOLDER}"
        )
    if (folder / MAIN).exists():
        raise ConfigError(
            f"{option}: its {MAIN} would replace all defaults; put what you change into an "
            "experiment, experiment/NAME.yaml"
        )
    return folder


def _has_choices(folder: Path) -> bool:
    """Return whether a folder has choices for one of our groups."""
    ours = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    return any(next(folder.glob(f"{group}/**/*.yaml"), None) for group in ours)
