"""Convert a trial between its record and its four files in an archive."""

import json
from dataclasses import asdict, fields
from typing import Any

from sweeps.archive import layout
from sweeps.archive.layout import ArchivedEnvironment, ArchivedResult
from sweeps.archive.reader import ArchiveReader
from sweeps.archive.validation import json_object, typed
from sweeps.config.hashing import digests
from sweeps.config.stored import canonical_of, with_defaults
from sweeps.errors import ConfigError
from sweeps.storage.record import Record, Trajectory, validated_columns


def path_in_archive(digest: str, part: str) -> str:
    """Name of one file of a trial."""
    return f"trials/{digest}/{part}"


def to_files(record: Record) -> dict[str, bytes]:
    """The four files of a trial, by name."""
    result = {field.name: getattr(record, field.name) for field in fields(ArchivedResult)}
    contents = {
        layout.CONFIG: as_json(record.config),
        layout.RESULT: as_json(result),
        layout.ENVIRONMENT: record.environment_json().encode(),
        layout.TRAJECTORY: record.parquet(),
    }
    return {path_in_archive(record.config_hash, part): data for part, data in contents.items()}


def as_json(plain: object) -> bytes:
    """Indented JSON."""
    return (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode()


def read_record(reader: ArchiveReader, digest: str) -> Record:
    """Read the four files of a trial and recompute the hash of its config.

    Raises:
        ConfigError: a file is missing, damaged or invalid, or a hash is wrong.
    """
    where = f"trials/{digest[:12]}"

    def read(part: str) -> dict[str, Any]:
        return json_object(f"{where}/{part}", reader.read(path_in_archive(digest, part)))

    config, cell_hash = checked_config(where, read(layout.CONFIG), digest)
    result = typed(ArchivedResult, f"{where}/{layout.RESULT}", read(layout.RESULT))
    if (result.config_hash, result.cell_hash) != (digest, cell_hash):
        raise ConfigError(f"{where}: {layout.RESULT} belongs to another trial")
    environment = read(layout.ENVIRONMENT)
    typed(ArchivedEnvironment, f"{where}/{layout.ENVIRONMENT}", environment)
    parquet = reader.read(path_in_archive(digest, layout.TRAJECTORY))
    try:
        validated_columns(parquet, config["train"]["steps"] + 2)
    except ValueError as error:
        raise ConfigError(f"{where}/{layout.TRAJECTORY}: {error}") from error
    values = asdict(result) | {"status": result.status.value}
    trajectory = Trajectory(parquet)
    return Record(**values, config=config, environment=environment, trajectory=trajectory)


def checked_config(where: str, config: dict[str, Any], digest: str) -> tuple[dict[str, Any], str]:
    """Recompute a config's hash; return the config with all defaults, and its cell hash.

    Args:
        where: place of the config, for error messages.
        config: the config as archived.
        digest: the expected config hash.

    Raises:
        ConfigError: the hash differs, or this version cannot read the config.
    """
    try:
        full = with_defaults(config)
        config_hash, cell_hash = digests(canonical_of(config))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if config_hash != digest:
        raise ConfigError(f"{where}: its config has another hash: {config_hash[:12]}")
    return full, cell_hash
