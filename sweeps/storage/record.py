"""The record of a finished trial, for the ledger and MLflow. The door to pyarrow."""

import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sweeps.config.early_stopping import STOPPED

# Largest trajectory that is read from an archive: a million steps of thirty columns.
MOST_VALUES = 30_000_000
Columns = Mapping[str, list[float | None]]


class ResultKey(NamedTuple):
    """Key of a result in the ledger.

    Attributes:
        config_hash: the trial.
        stopped_in: the sweep that stopped it early; empty for a complete result.
    """

    config_hash: str
    stopped_in: str = ""


class Trajectory(Columns):
    """Columns of every recorded step, with None where a quantity was not measured.

    The worker encodes them to a Parquet file once. This file is what is sent, stored and
    exported; it is decoded when a column is read.

    Attributes:
        parquet: the Parquet file; empty: there are no columns.
    """

    def __init__(self, parquet: bytes) -> None:
        self.parquet = parquet
        self._columns: Columns | None = None

    @classmethod
    def of(cls, columns: Columns) -> "Trajectory":
        """Encode columns of equal length."""
        import pyarrow.parquet  # not for commands that read no trajectory

        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(dict(columns)), sink, compression="zstd")
        encoded = cls(sink.getvalue())
        encoded._columns = columns
        return encoded

    def __getitem__(self, name: str) -> list[float | None]:
        return self._decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    def __reduce__(self) -> tuple[type["Trajectory"], tuple[bytes]]:
        """Pickle the file, without decoded columns."""
        return Trajectory, (self.parquet,)

    def _decoded(self) -> Columns:
        if self._columns is None:
            self._columns = columns_of(self.parquet) if self.parquet else {}
        return self._columns


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        config_hash: its identity.
        cell_hash: its identity without the seed.
        config: the plain resolved trial config.
        status: converged, budget, diverged, ill_posed, stalled or rejected.
        reason: one sentence on its status.
        summary: summary metrics by MLflow name.
        notes: reasons why numbers are absent, by their name.
        device: where it trained.
        started, finished: milliseconds since the epoch.
        environment: versions, hardware and code of the process that trained it.
        trajectory: columns of every recorded step.
        stopped_in: the sweep that stopped it early; empty for a complete result.
        weights: name of its weights file under the output root; empty where none were kept.
    """

    config_hash: str
    cell_hash: str
    config: dict[str, Any]
    status: str
    reason: str
    summary: dict[str, float]
    notes: dict[str, str]
    device: str
    started: int
    finished: int
    environment: dict[str, Any]
    trajectory: Trajectory
    stopped_in: str = ""
    weights: str = ""

    @property
    def key(self) -> ResultKey:
        """Key in the ledger: a stopped trial is not the result of its configuration."""
        return ResultKey(self.config_hash, self.stopped_in)

    def in_sweep(self, sweep: str) -> "Record":
        """The record as part of a sweep, to which a result that was stopped early belongs."""
        return replace(self, stopped_in=sweep) if self.status == STOPPED else self

    def head(self) -> str:
        """All fields but environment and trajectory, as strict JSON without NaN and infinity."""
        left_out = ["environment", "trajectory"] + ["weights"] * (not self.weights)
        small = {key: value for key, value in vars(self).items() if key not in left_out}
        return json.dumps(small, allow_nan=False)

    def environment_json(self) -> str:
        """The environment as indented JSON."""
        return json.dumps(self.environment, indent=2, sort_keys=True)

    def parquet(self) -> bytes:
        """Return the trajectory as a Parquet file."""
        return self.trajectory.parquet

    @classmethod
    def joined(cls, head: str, environment: str, parquet: bytes = b"") -> "Record":
        """Rebuild a record from its parts: `head`, `environment_json` and `parquet`.

        The trajectory is empty if `parquet` is empty.
        """
        return cls(
            **json.loads(head),
            environment=json.loads(environment),
            trajectory=Trajectory(parquet),
        )


def columns_of(parquet: bytes) -> Columns:
    """Decode the columns of a trajectory's Parquet file."""
    import pyarrow.parquet

    # Not read_table, which starts a scan of a whole data set: it takes twice the time.
    file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(parquet))
    columns: Columns = file.read(use_threads=False).to_pydict()
    return columns


def validated_columns(parquet: bytes, most_rows: int) -> Columns:
    """Decode a trajectory that somebody else wrote, and check it.

    The size is checked before the file is decoded: a small file may claim many rows.

    Raises:
        ValueError: the file is not Parquet, is too large, or holds other values than finite
            numbers.
    """
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(parquet))
        rows, schema = file.metadata.num_rows, file.schema_arrow
        if rows > most_rows or rows * len(schema) > MOST_VALUES:
            raise ValueError(f"{rows} rows of {len(schema)} columns: too many")
        for field in schema:
            if field.type not in (pyarrow.float64(), pyarrow.null()):
                raise ValueError(f"column {field.name[:40]!r} is of type {field.type}")
        columns = columns_of(parquet)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"no Parquet file ({' '.join(str(error).split())[:200]})") from error
    if len(columns) != len(schema):
        raise ValueError("two columns have the same name")
    for name, values in columns.items():
        if any(v is not None and not math.isfinite(v) for v in values):
            raise ValueError(f"column {name[:40]!r} holds a value that is not a finite number")
    return columns


def now() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
