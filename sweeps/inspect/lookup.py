"""Find a trial or a sweep by the first digits of its name, in the ledger or in MLflow."""

from pathlib import Path

from sweeps.config.launch import LaunchConfig
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
    """The finished trial whose config hash begins with `prefix`.

    Args:
        prefix: first digits of the hash.
        config: launch config with the output root and the tracking.
        steps: False to leave the trajectory empty.

    Raises:
        ConfigError: the prefix names no trial or several.
        TrackingError: MLflow cannot be reached.
    """
    check_prefix(prefix)
    check_server(config.tracking)
    records: list[Record] = []
    output = Path(config.paths.output)
    if (output / LEDGER).exists():
        with reading(output / LEDGER) as ledger:
            records = ledger.records_like(prefix, steps=steps)
    if not records and has_mlflow(config):
        records = Tracker(config.tracking, output).records_like(prefix)
    by_hash = {record.config_hash: record for record in records}
    if len(by_hash) != 1:
        names = ", ".join(digest[:12] for digest in sorted(by_hash)[:5])
        hint = f"they are {names}" if by_hash else "`sweeps run --dry-run` prints the hashes"
        raise ConfigError(f"{prefix!r} names {len(by_hash)} finished trials: {hint}")
    return next(iter(by_hash.values()))


def finished_of(prefix: str, config: LaunchConfig) -> dict[str, str]:
    """Names of a sweep's finished trials, by config hash.

    Args:
        prefix: first digits of the sweep's name.
        config: launch config with the output root and the tracking.

    Raises:
        ConfigError: the prefix names no sweep or several.
        TrackingError: MLflow cannot be reached.
    """
    check_prefix(prefix)
    check_server(config.tracking)
    output = Path(config.paths.output)
    if (output / LEDGER).exists():
        with reading(output / LEDGER) as ledger:
            entries = {entry.sweep: entry for entry in ledger.sweeps_like(prefix)}
            if entries:
                outcomes = outcomes_of_entry(entries[one_sweep(entries, prefix)], ledger)
                return {x.planned.config_hash: x.planned.name for x in outcomes if x.finished}
    sweeps = Tracker(config.tracking, output).sweeps_like(prefix) if has_mlflow(config) else {}
    return sweeps[one_sweep(sweeps, prefix)]


def has_mlflow(config: LaunchConfig) -> bool:
    """True if tracking uses a server, or the output root has an embedded MLflow store."""
    return config.tracking.name == "server" or store.exists(Path(config.paths.output))
