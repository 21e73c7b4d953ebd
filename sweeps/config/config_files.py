"""The folders of config files, a user's own and ours, and the choices of their groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.errors import ConfigError

# The main config, which is ours alone: there is one on Hydra's search path.
MAIN = "config.yaml"
# A folder of this name in the current folder is found by itself.
PROJECT_FOLDER = "conf"


@dataclass(frozen=True)
class ConfigFile:
    """A config file of a user's that a command was composed from.

    Attributes:
        name: its place in its folder, `experiment/first.yaml` say.
        path: the file.
        text: its content.
        hides: whether it takes the place of one of ours.
    """

    name: str
    path: Path
    text: str
    hides: bool


def conf_dir() -> Path:
    """conf/ as it ships in the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def user_folders(config_dir: str | Path | None = None) -> tuple[Path, ...]:
    """A user's folders of config files: the one that is named, then ./conf; the first counts.

    Args:
        config_dir: as named by `--config-dir`; None where it was not.

    Raises:
        ConfigError: the folder that is named cannot be used.
    """
    named = [] if config_dir is None else [_named(config_dir)]
    found = (
        []
        if why_unused() or not _has_choices(Path(PROJECT_FOLDER))
        else [Path(PROJECT_FOLDER).resolve()]
    )
    ours = conf_dir().resolve()
    return tuple(folder for folder in dict.fromkeys([*named, *found]) if folder != ours)


def why_unused() -> str:
    """Why ./conf is not searched, where it holds choices for our groups; else empty."""
    folder = Path(PROJECT_FOLDER)
    if not _has_choices(folder) or not (folder / MAIN).exists():
        return ""
    if folder.resolve() == conf_dir().resolve():
        return ""
    return f"{PROJECT_FOLDER}/ here is not searched: its {MAIN} makes it another program's"


def groups(folders: Sequence[Path] = ()) -> dict[str, list[str]]:
    """The choices of every group, both in the order of the alphabet.

    Args:
        folders: a user's, beside our own.
    """
    found: dict[str, set[str]] = {}
    for folder in (conf_dir(), *folders):
        for file in folder.glob("*/**/*.yaml"):
            group, *rest = file.relative_to(folder).with_suffix("").parts
            found.setdefault(group, set()).add("/".join(rest))
    return {group: sorted(found[group]) for group in sorted(found)}


def file_of(name: str, folders: Sequence[Path] = ()) -> Path | None:
    """The file of a choice, `data/digits` say: that of the first folder that has it."""
    places = [folder / f"{name}.yaml" for folder in (*folders, conf_dir())]
    return next((place for place in places if place.is_file()), None)


def _named(config_dir: str | Path) -> Path:
    """The folder that `--config-dir` names.

    Raises:
        ConfigError: it cannot be used.
    """
    folder, said = Path(config_dir).absolute(), f"--config-dir {config_dir}"
    try:
        there = bool(str(config_dir).strip()) and folder.exists()
    except OSError as error:  # a name too long, or a folder of another user's
        raise ConfigError(f"{said}: {error.strerror}") from error
    if not there:
        raise ConfigError(f"{said}: there is no such folder")
    if not folder.is_dir():
        raise ConfigError(f"{said}: it is a file; name the folder that holds experiment/ or data/")
    folder = folder.resolve()
    if folder == conf_dir().resolve():
        return folder
    if next(folder.glob("*/**/*.yaml"), None) is None:
        raise ConfigError(f"{said}: it holds no choice for a group, no experiment/NAME.yaml say")
    if (folder / MAIN).exists():
        raise ConfigError(
            f"{said}: its {MAIN} would replace all defaults; put what you change into an "
            "experiment, experiment/NAME.yaml"
        )
    return folder


def _has_choices(folder: Path) -> bool:
    """Whether a folder holds choices for groups of ours."""
    ours = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    return any(next(folder.glob(f"{group}/**/*.yaml"), None) for group in ours)
