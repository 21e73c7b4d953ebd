"""The output root: what of it lies where, and who writes to it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sweeps import pulse, root_lock
from sweeps.config import LaunchConfig
from sweeps.errors import ConfigError
from sweeps.known import lines_of_entry
from sweeps.ledger import LEDGER, Ledger, SweepEntry
from sweeps.lookup import one_sweep
from sweeps.report import Line
from sweeps.tracking.server import check_server
from sweeps.tracking.tracker import Tracker


def folder_of(output: Path, sweep: str) -> Path:
    """Where a sweep's report lies, and what Ray keeps of it while it runs."""
    return output / "sweeps" / sweep


def ledger_path(config: LaunchConfig) -> Path:
    """Where the ledger lies."""
    return Path(config.paths.output) / LEDGER


def has_record(output: Path) -> None:
    """Raise ConfigError unless something was launched under this root."""
    if not (output / LEDGER).exists():
        raise ConfigError(f"there is no record under {output}: launch a sweep first")


@contextlib.contextmanager
def opened(config: LaunchConfig) -> Iterator[tuple[Tracker, Ledger]]:
    """The output root, held by this process alone."""
    check_server(config.tracking)  # refused before anything is written
    output = Path(config.paths.output)
    output.mkdir(parents=True, exist_ok=True)
    with root_lock.held(output, lambda: _who(output)):
        keep_caches(output)
        with contextlib.closing(Ledger(ledger_path(config))) as ledger:
            yield Tracker(config.tracking, output), ledger


def _who(output: Path) -> str:
    """What is at work on a root that is held, as the beginning of a sentence."""
    for place in sorted(folder_of(output, "").glob(f"*/{pulse.NAME}")):
        beat = pulse.last_beat(place.parent)
        if beat:
            return f"sweep {place.parent.name} is running (process {beat.pid} on {beat.host})"
    return "another command is at work"


def keep_caches(output: Path) -> None:
    """Have matplotlib, in workers too, keep its caches here and not in the home folder."""
    os.environ.setdefault("MPLCONFIGDIR", str(output.resolve() / "matplotlib"))


def only(found: list[SweepEntry], prefix: str) -> SweepEntry:
    """The one sweep a prefix names; of several studies with that set of trials, the latest.

    Raises:
        ConfigError: no sweep, or more than one, begins so.
    """
    names = {entry.sweep: entry for entry in found}
    return names[one_sweep(names, prefix)]


def lines_of(prefix: str, output: Path) -> list[Line]:
    """What the ledger knows of a sweep's trials.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
    """
    has_record(output)
    with contextlib.closing(Ledger(output / LEDGER)) as ledger:
        return lines_of_entry(only(ledger.sweeps_like(prefix), prefix), ledger)
