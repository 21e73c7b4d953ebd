"""Opens an output root for one process: its lock, its ledger and MLflow."""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.config.texts import count_noun
from sweeps.driver import heartbeat
from sweeps.storage import root_lock
from sweeps.storage.disk_errors import explained_errors
from sweeps.storage.ledger import DAMAGED, Ledger
from sweeps.storage.output_root import folder_of, ledger_path, set_cache_folder
from sweeps.tracking import store
from sweeps.tracking.server import check_server
from sweeps.tracking.tracker import Tracker

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def opened(config: LaunchConfig) -> Iterator[tuple[Tracker, Ledger]]:
    """Hold the output root for this process alone, with its ledger and MLflow open.

    Raises:
        ConfigError: another process holds it, or it cannot be used.
        DiskError: its disk is full or fails.
        TrackingError: MLflow cannot be used.
    """
    with opened_ledger(config) as ledger:
        tracker = Tracker(config.tracking, Path(config.paths.output))
        with explained_errors(ledger.path, DAMAGED, sqlite3.Error):
            yield tracker, ledger


@contextlib.contextmanager
def opened_ledger(
    config: LaunchConfig, say: Callable[[str], None] = _log.warning
) -> Iterator[Ledger]:
    """Hold the output root for this process alone, with its ledger open.

    Results that a driver which was killed was training again are brought back.

    Args:
        config: where it is, and which MLflow will be used.
        say: prints a line on that.

    Raises:
        ConfigError: another process holds it, or it cannot be used.
        DiskError: its disk is full or fails.
    """
    check_server(config.tracking)  # refused before anything is written
    output = Path(config.paths.output)
    if config.tracking.name == "local":
        store.uri(output)
    with explained_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    with _locked(output):
        set_cache_folder(output)
        path = ledger_path(config)
        with explained_errors(path, DAMAGED):
            ledger = Ledger(path)
        with contextlib.closing(ledger):
            with explained_errors(path, DAMAGED, sqlite3.Error):
                bring_back(ledger, say)
            yield ledger


def bring_back(ledger: Ledger, say: Callable[[str], None]) -> None:
    """Put back the results that were to be trained again and were not.

    Args:
        ledger: the ledger of an output root that this process holds.
        say: prints a line that says how many there are.
    """
    if count := ledger.bring_back():
        results = "results" if count > 1 else "result"
        trained = f"{'were' if count > 1 else 'was'} not trained again"
        say(f"brought back the earlier {results} of {count_noun(count, 'trial')} that {trained}")


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Hold the lock of an output root; a lock file that cannot be opened is a one-line error."""
    with contextlib.ExitStack() as stack:
        with explained_errors(output):
            stack.enter_context(root_lock.held(output, lambda: _holder(output)))
        yield


def _holder(output: Path) -> str:
    """Return which process holds the root, as the beginning of a sentence."""
    for file in sorted(folder_of(output, "").glob(f"*/{heartbeat.NAME}")):
        beat = heartbeat.last_heartbeat(file.parent)
        if beat:
            return f"sweep {file.parent.name} is running (process {beat.pid} on {beat.host})"
    return "another command is at work"
