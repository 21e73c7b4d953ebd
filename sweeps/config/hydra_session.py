"""Initialises Hydra on the user's folders of config files and on ours."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

# As hydra.main does for --config-dir: the public API takes one folder only.
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import initialize_config_dir
from hydra.types import RunMode

from sweeps.config.config_files import ConfigFile, conf_dir


@contextlib.contextmanager
def session(folders: Sequence[Path]) -> Iterator[ConfigLoader]:
    """Initialise Hydra for a block that composes.

    Args:
        folders: the user's, in order of precedence; they come before ours.

    Yields:
        Hydra's config loader.
    """
    ours = str(conf_dir().resolve())
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with initialize_config_dir(ours, version_base="1.3"):
        if folders:
            path = create_config_search_path(ours)
            for folder in folders:
                query = SearchPathQuery(provider="main")
                path.prepend("command-line", f"file://{folder}", query)
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2(task_name="app", config_search_path=path)
        yield GlobalHydra.instance().config_loader()


def files_of(
    loader: ConfigLoader,
    overrides: list[str],
    folders: Sequence[Path],
    searched: Sequence[Path],
) -> Iterator[ConfigFile]:
    """The user's files that these overrides are composed from.

    Args:
        loader: Hydra's config loader.
        overrides: without axes.
        folders: the user's, which come before ours.
        searched: the folders of hydra.searchpath, which come after ours.
    """
    ours = conf_dir()
    defaults = loader.compute_defaults_list("config", overrides, RunMode.RUN).defaults
    # Hydra takes NAME.yaml for NAME.
    paths = (str(default.config_path).removesuffix(".yaml") for default in defaults)
    for name in dict.fromkeys(f"{path}.yaml" for path in paths):
        place = next((f for f in (*folders, ours, *searched) if (f / name).is_file()), ours)
        if place != ours:
            text = (place / name).read_text(encoding="utf-8")
            yield ConfigFile(name, place / name, text, (ours / name).is_file())
