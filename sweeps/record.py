"""A finished trial as data: what the ledger keeps and MLflow is sent. The door to pyarrow."""

import io
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow
import pyarrow.parquet


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        config_hash: its identity.
        cell_hash: its identity without the seed.
        config: the plain resolved trial config.
        status: converged, budget, diverged, ill_posed or stalled.
        reason: one sentence on why it ended so.
        summary: summary metrics by MLflow name.
        notes: why a number is absent, by its name.
        device: where it trained.
        environment: versions, hardware and code of the process that trained it.
        started, finished: milliseconds since the epoch.
        trajectory: columns of every recorded step; None where not measured.
    """

    config_hash: str
    cell_hash: str
    config: dict[str, Any]
    status: str
    reason: str
    summary: dict[str, float]
    notes: dict[str, str]
    device: str
    environment: dict[str, Any]
    started: int
    finished: int
    trajectory: dict[str, list[float | None]]

    def to_json(self) -> str:
        """Strict JSON: no NaN, no infinity."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record `to_json` wrote."""
        return cls(**json.loads(text))

    def parquet(self) -> bytes:
        """The trajectory as a Parquet file."""
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(self.trajectory), sink)
        return sink.getvalue()


def now() -> int:
    """Milliseconds since the epoch, as a record and MLflow count them."""
    return time.time_ns() // 1_000_000


def label(varying: dict[str, Any]) -> str:
    """A short run name that says the varying values: `width=128 relu seed=0`."""
    parts = []
    for key, value in varying.items():
        leaf = key.rsplit(".", 1)[-1]
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        parts.append(shown if leaf == "activation" else f"{leaf}={shown}")
    return " ".join(parts) or "default"
