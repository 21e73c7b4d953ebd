"""The output root: the folder under which a command writes all its files."""

import os
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.errors import ConfigError
from sweeps.storage.disk_errors import explained_errors

LEDGER = "ledger.db"


def folder_of(output: Path, sweep: str) -> Path:
    """Folder of a sweep: its report, and Ray's files while it runs."""
    return output / "sweeps" / sweep


def ledger_path(config: LaunchConfig) -> Path:
    """Path of the ledger."""
    return Path(config.paths.output) / LEDGER


def require_record(output: Path) -> None:
    """Raise ConfigError unless something was launched under this root."""
    with explained_errors(output):
        exists = (output / LEDGER).exists()
    if not exists:
        raise ConfigError(f"there is no record under {output}: launch a sweep first")


def set_cache_folder(output: Path) -> None:
    """Have matplotlib keep its caches here, in workers too, and not in the home folder."""
    os.environ.setdefault("MPLCONFIGDIR", str(output.resolve() / "matplotlib"))
