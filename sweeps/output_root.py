"""The output root: what of it lies where, and who writes to it."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeps import pulse, root_lock
from sweeps.config import LaunchConfig
from sweeps.errors import ConfigError
from sweeps.known import lines_of_entry
from sweeps.ledger import DAMAGED, LEDGER, Ledger, SweepEntry, reading
from sweeps.lookup import one_sweep
from sweeps.output_errors import explained
from sweeps.report import Line
from sweeps.tracking import store
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
    with explained(output):
        there = (output / LEDGER).exists()
    if not there:
        raise ConfigError(f"there is no record under {output}: launch a sweep first")


@contextlib.contextmanager
def opened(
    config: LaunchConfig, held: Callable[[], None] = lambda: None
) -> Iterator[tuple[Tracker, Ledger]]:
    """Hold the output root for this process alone, with its ledger and MLflow open.

    Args:
        config: where it is, and which MLflow.
        held: called once the root is held, before MLflow is imported, which takes seconds.

    Raises:
        ConfigError: another process holds it, or it cannot be used.
        DiskError: its disk is full or fails.
        TrackingError: MLflow cannot be used.
    """
    check_server(config.tracking)  # refused before anything is written
    output = Path(config.paths.output)
    if config.tracking.name == "local":
        store.uri(output)
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
    with _locked(output), contextlib.ExitStack() as stack:
        keep_caches(output)
        path = ledger_path(config)
        with explained(path, DAMAGED):
            ledger = stack.enter_context(contextlib.closing(Ledger(path)))
        held()
        tracker = Tracker(config.tracking, output)
        stack.enter_context(explained(path, DAMAGED, sqlite3.Error))
        yield tracker, ledger


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Hold the lock of an output root; one that cannot be opened is one line."""
    with contextlib.ExitStack() as stack:
        with explained(output):
            stack.enter_context(root_lock.held(output, lambda: _who(output)))
        yield


def _who(output: Path) -> str:
    """Name the process that holds the root, as the beginning of a sentence."""
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
    with reading(output / LEDGER) as ledger:
        return lines_of_entry(only(ledger.sweeps_like(prefix), prefix), ledger)
