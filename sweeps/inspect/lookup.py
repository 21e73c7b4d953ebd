"""From a prefix to what it names: in the ledger, or in MLflow where another put it."""

from pathlib import Path

from sweeps.config.request import LaunchConfig
from sweeps.driver.trial_states import outcomes_of_entry
from sweeps.errors import ConfigError
from sweeps.storage.ledger import reading
from sweeps.storage.output_root import LEDGER
from sweeps.storage.prefixes import check_prefix, one_sweep
from sweeps.storage.record import Record
from sweeps.tracking import store
from sweeps.tracking.server import check_server
from sweeps.tracking.tracker import Tracker


def record_of(prefix: str, config: LaunchConfig, *, steps: bool = True) -> Record:
    """The finished trial whose config hash begins so.

    Args:
        prefix: of the hash.
        config: where to look.
        steps: whether its trajectory is needed.

    Raises:
        ConfigError: none, or more than one, does.
        TrackingError: MLflow cannot be reached.
    """
    check_prefix(prefix)
    check_server(config.tracking)
    found: dict[str, Record] = {}
    output = Path(config.paths.output)
    if (output / LEDGER).exists():
        with reading(output / LEDGER) as ledger:
            found = {
                record.config_hash: record for record in ledger.records_like(prefix, steps=steps)
            }
    if not found and in_mlflow(config):
        tracker = Tracker(config.tracking, output)
        found = {record.config_hash: record for record in tracker.records_like(prefix)}
    if len(found) != 1:
        names = ", ".join(digest[:12] for digest in sorted(found)[:5])
        hint = f"they are {names}" if found else "`sweeps run --dry-run` prints the hashes"
        raise ConfigError(f"{prefix!r} names {len(found)} finished trials: {hint}")
    return next(iter(found.values()))


def finished_of(prefix: str, config: LaunchConfig) -> dict[str, str]:
    """The finished trials of the sweep whose name begins so: their names, by config hash.

    Raises:
        ConfigError: none, or more than one, does.
        TrackingError: MLflow cannot be reached.
    """
    check_prefix(prefix)
    check_server(config.tracking)
    output = Path(config.paths.output)
    if (output / LEDGER).exists():
        with reading(output / LEDGER) as ledger:
            entries = {entry.sweep: entry for entry in ledger.sweeps_like(prefix)}
            if entries:
                lines = outcomes_of_entry(entries[one_sweep(entries, prefix)], ledger)
                return {p.config_hash: p.name for p in (x.planned for x in lines if x.finished)}
    found = Tracker(config.tracking, output).sweeps_like(prefix) if in_mlflow(config) else {}
    return found[one_sweep(found, prefix)]


def in_mlflow(config: LaunchConfig) -> bool:
    """Whether there is an MLflow to look into."""
    return config.tracking.name == "server" or store.exists(Path(config.paths.output))
