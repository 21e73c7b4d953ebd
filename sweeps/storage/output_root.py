"""The output root: where everything lies that a command writes."""

import os
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.errors import ConfigError
from sweeps.storage.disk_errors import explained_errors

LEDGER = "ledger.db"


def folder_of(output: Path, sweep: str) -> Path:
    """Where a sweep's report lies, and what Ray keeps of it while it runs."""
    return output / "sweeps" / sweep


def ledger_path(config: LaunchConfig) -> Path:
    """Where the ledger lies."""
    return Path(config.paths.output) / LEDGER


def require_record(output: Path) -> None:
    """Raise ConfigError unless something was launched under this root."""
    with explained_errors(output):
        there = (output / LEDGER).exists()
    if not there:
        raise ConfigError(f"there is no record under {output}: launch a sweep first")


def set_cache_folder(output: Path) -> None:
    """Have matplotlib, in workers too, keep its caches here and not in the home folder."""
    os.environ.setdefault("MPLCONFIGDIR", str(output.resolve() / "matplotlib"))
