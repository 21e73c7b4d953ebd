"""Load the trained model of a trial by its hash."""

import tempfile
from pathlib import Path

import deq
from sweeps.config.hashing import config_hash
from sweeps.config.launch import LaunchConfig
from sweeps.errors import ConfigError
from sweeps.inspect.lookup import has_mlflow, record_of
from sweeps.storage.ledger import reading
from sweeps.storage.output_root import LEDGER
from sweeps.storage.prefixes import check_prefix
from sweeps.storage.record import Record
from sweeps.storage.weights import path_of
from sweeps.tracking.tracker import Tracker


def trained_of(prefix: str, config: LaunchConfig) -> deq.Trained:
    """The model of the trial whose config hash begins with `prefix`.

    Args:
        prefix: first digits of the hash.
        config: launch config with the output root and the tracking.

    Raises:
        ConfigError: the prefix names no trial or several; or its weights were not recorded,
            are damaged or belong to another trial.
        TrackingError: MLflow cannot be reached.
    """
    check_prefix(prefix)
    record = _stopped(prefix, Path(config.paths.output)) or record_of(prefix, config)
    path = path_of(Path(config.paths.output), record)
    if path:
        return _model(path, record.config_hash)
    if has_mlflow(config):
        tracker = Tracker(config.tracking, Path(config.paths.output))
        with tempfile.TemporaryDirectory() as folder:
            loaded = tracker.presence.weights(record.config_hash, Path(folder))
            if loaded:
                return _model(loaded, record.config_hash)
    raise ConfigError(
        f"trial {record.config_hash[:12]} was recorded without weights: "
        "train it again with record.weights=true and --force"
    )


def _stopped(prefix: str, output: Path) -> Record | None:
    """The longest run of a trial that sweeps stopped early and none finished; else None."""
    if not (output / LEDGER).exists():
        return None
    with reading(output / LEDGER) as ledger:
        stopped = ledger.records_like(prefix, stopped=True)
        if len({record.config_hash for record in stopped}) != 1 or ledger.records_like(prefix):
            return None
    return max(stopped, key=lambda record: (bool(record.weights), len(record.trajectory["step"])))


def _model(path: Path, digest: str) -> deq.Trained:
    """Read a weights file, and check that it belongs to this trial."""
    try:
        model, metadata = deq.read_weights(path)
    except deq.WeightsFileError as error:
        raise ConfigError(f"{error}: train the trial again with --force") from error
    except ValueError as error:  # its activation
        raise ConfigError(str(error)) from error
    for stored in (metadata.get("config_hash", ""), config_hash(model.config)):
        if stored != digest:
            raise ConfigError(
                f"{path} holds the weights of trial {stored[:12] or 'none'}, not of {digest[:12]}"
            )
    return model
