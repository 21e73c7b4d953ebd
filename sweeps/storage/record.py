"""The record of a finished trial, for the ledger and MLflow. The door to pyarrow."""

import io
import json
import math
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sweeps.config.early_stopping import STOPPED

# Largest trajectory that is read from an archive: a million steps of thirty columns.
MOST_VALUES = 30_000_000
Columns = dict[str, list[float | None]]


class ResultKey(NamedTuple):
    """Key of a result in the ledger.

    Attributes:
        config_hash: the trial.
        stopped_in: the sweep that stopped it early; empty for a complete result.
    """

    config_hash: str
    stopped_in: str = ""


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        config_hash: its identity.
        cell_hash: its identity without the seed.
        config: the plain resolved trial config.
        status: converged, budget, diverged, ill_posed or stalled.
        reason: one sentence on its status.
        summary: summary metrics by MLflow name.
        notes: reasons why numbers are absent, by their name.
        device: where it trained.
        started, finished: milliseconds since the epoch.
        environment: versions, hardware and code of the process that trained it.
        trajectory: columns of every recorded step; None where not measured.
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
    trajectory: Columns
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
        """The trajectory, as a Parquet file."""
        import pyarrow.parquet  # not for commands that read no trajectory

        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(self.trajectory), sink, compression="zstd")
        return sink.getvalue()

    @classmethod
    def joined(cls, head: str, environment: str, parquet: bytes = b"") -> "Record":
        """The record that `head`, `environment_json` and `parquet` wrote.

        Its trajectory is empty where `parquet` is.
        """
        return cls(
            **json.loads(head),
            environment=json.loads(environment),
            trajectory=columns_of(parquet) if parquet else {},
        )


def columns_of(parquet: bytes) -> Columns:
    """The trajectory that `Record.parquet` wrote."""
    import pyarrow.parquet

    columns: Columns = pyarrow.parquet.read_table(io.BytesIO(parquet)).to_pydict()
    return columns


def validated_columns(parquet: bytes, most_rows: int) -> Columns:
    """The trajectory of a Parquet file that somebody else wrote: finite numbers, or none.

    What it holds is looked at before it is decoded: a small file may claim many rows.

    Raises:
        ValueError: it is no such trajectory.
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
        raise ValueError("a column is there twice")
    for name, values in columns.items():
        if any(v is not None and not math.isfinite(v) for v in values):
            raise ValueError(f"column {name[:40]!r} holds what is no finite number")
    return columns


def now() -> int:
    """Milliseconds since the epoch, as a record and MLflow count them."""
    return time.time_ns() // 1_000_000
