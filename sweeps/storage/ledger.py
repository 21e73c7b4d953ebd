"""The durable ledger under the output root: results, failures, sweeps and the outbox.

One SQLite file, written by the driver only; every write is on disk before it returns.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.storage import database
from sweeps.storage.disk_errors import DATABASE_ERRORS, explained_errors
from sweeps.storage.outbox import Outbox
from sweeps.storage.record import Columns, Record, ResultKey, columns_of
from sweeps.storage.replaced import DROP, ReplacedResults
from sweeps.storage.stop_requests import STOPPED_BY
from sweeps.storage.sweep_table import Page, SweepEntry, SweepTable

__all__ = ["DAMAGED", "Failure", "Ledger", "Page", "Result", "SweepEntry", "reading"]

# What to do where the file is damaged.
DAMAGED = "move it and its -wal and -shm away; what MLflow holds of its trials is then used"
_FORGET = [
    *(
        f"DELETE FROM {table} WHERE config_hash = ?"  # noqa: S608
        for table in ("results", "failures", "figures", "outbox")
    ),
    *DROP,
]
# Status of a trial with model.init=redraw none of whose networks met the initial condition, and
# the summary metric that counts them.
REJECTED, DRAWN = "rejected", "theory/networks_drawn"
# No hash has a letter after f: the end of the range of hashes that begin with a prefix.
_AFTER_F = "g"


@dataclass(frozen=True)
class Result:
    """The part of a finished trial that tables need: its status and its summary metrics."""

    status: str
    summary: dict[str, float]

    def is_final(self, max_draws: int) -> bool:
        """Return whether training again would not change it when so many networks may be drawn.

        The limit is no part of a trial's identity, so a rejected trial may be trained again
        under a higher limit.
        """
        return self.status != REJECTED or self.summary.get(DRAWN, max_draws) >= max_draws


@dataclass(frozen=True)
class Failure:
    """A trial without a result.

    Attributes:
        error: what it raised, or who stopped it.
        final: whether the same error would come again, so that it is not retried.
    """

    error: str
    final: bool

    @property
    def stopped(self) -> bool:
        """Return whether a person stopped it: it is launched again like one that never ran."""
        return not self.final and self.error.startswith(STOPPED_BY)


class Ledger(Outbox, ReplacedResults, SweepTable):
    """Results by config hash. One connection serves one thread at a time.

    A result that a sweep stopped early has that sweep's name as `stopped_in`: it is not the
    result of its configuration.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file.

        Args:
            path: the file; created when new, and migrated when an older version wrote it.
            read_only: create and write nothing; an older file is read as it is.

        Raises:
            ConfigError: it was written by another version of this tool.
            sqlite3.Error, OSError: it cannot be opened; `reading` explains them.
        """
        self.path = path
        self._db = database.read(path) if read_only else database.write(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def save(self, record: Record, figure: bytes = b"") -> set[str]:
        """Save a result, unless it is there already.

        Args:
            record: the result; the trial's failure, if any, is deleted, and so are the results
                that were set aside and that it replaces.
            figure: its PNG, kept until MLflow has received it.

        Returns:
            Names of the weights' files of the results that it replaces.
        """
        environment = record.environment_json()
        digest = hashlib.sha256(environment.encode()).hexdigest()
        values = (
            *record.key,
            record.status,
            json.dumps(record.summary),
            record.head(),
            digest,
            record.parquet(),
        )
        with database.transaction(self._db):
            execute = self._db.execute
            execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", (digest, environment))
            execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            execute("DELETE FROM failures WHERE config_hash = ?", (record.config_hash,))
            if figure:
                execute("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", (*record.key, figure))
            return self._drop_replaced(record.key)

    def save_failure(self, config_hash: str, error: str, *, final: bool) -> None:
        """Save why a trial has no result, and whether a retry is of no use."""
        self._db.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
            (config_hash, error, final, time.time()),
        )

    def delete_failures(self, hashes: Iterable[str]) -> None:
        """Delete why these trials had no result: they are trained again."""
        rows = [(config_hash,) for config_hash in hashes]
        with database.transaction(self._db):
            self._db.executemany("DELETE FROM failures WHERE config_hash = ?", rows)

    def forget(self, hashes: Iterable[str]) -> None:
        """Delete everything held of these trials, so that they are trained again."""
        rows = [(config_hash,) for config_hash in hashes]
        with database.transaction(self._db):
            for statement in _FORGET:
                self._db.executemany(statement, rows)

    def get(self, config_hash: str, stopped_in: str = "") -> Record | None:
        """The whole result of a trial; None where there is none."""
        row = self._result("head, text, trajectory", config_hash, stopped_in)
        return Record.joined(*row) if row else None

    def provenance(self, config_hash: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Head and environment of a complete result, without its trajectory."""
        row = self._result("head, text", config_hash, "")
        return (json.loads(row[0]), json.loads(row[1])) if row else None

    def trajectory(self, config_hash: str, sweep: str = "") -> Columns | None:
        """A trial's columns of every step; None where the ledger holds no such result.

        Args:
            config_hash: the trial.
            sweep: a sweep that may have stopped it early; the complete result comes first.
        """
        for stopped_in in ("", sweep):
            if row := self._result("trajectory", config_hash, stopped_in):
                return columns_of(row[0])
        return None

    def _result(self, columns: str, *key: str) -> tuple[Any, ...] | None:
        """Columns of one result joined with its environment, by config hash and `stopped_in`."""
        row: tuple[Any, ...] | None = self._db.execute(
            f"SELECT {columns} FROM results JOIN environments ON environment = digest "  # noqa: S608
            "WHERE config_hash = ? AND stopped_in = ?",
            key,
        ).fetchone()
        return row

    def figure(self, config_hash: str, stopped_in: str = "") -> bytes:
        """The figure of a trial that was not sent yet; empty where its worker drew none."""
        query = "SELECT png FROM figures WHERE config_hash = ? AND stopped_in = ?"
        row = self._db.execute(query, (config_hash, stopped_in)).fetchone()
        return row[0] if row else b""

    def records_like(
        self, prefix: str, *, steps: bool = True, stopped: bool = False
    ) -> list[Record]:
        """Results whose config hash begins with `prefix`.

        Args:
            prefix: lower-case hex digits.
            steps: whether to read the trajectories too.
            stopped: the results that were stopped early instead of the complete ones.
        """
        columns = "head, text, trajectory" if steps else "head, text"
        rows = self._db.execute(
            f"SELECT {columns} FROM results JOIN environments ON environment = digest "  # noqa: S608
            "WHERE config_hash >= ? AND config_hash < ? AND (stopped_in != '') = ?",
            (prefix, prefix + _AFTER_F, stopped),
        )
        return [Record.joined(*row) for row in rows]

    def with_weights(self) -> set[ResultKey]:
        """Keys of the results whose weights were kept."""
        rows = self._db.execute(
            "SELECT config_hash, stopped_in FROM results "
            "WHERE json_extract(head, '$.weights') IS NOT NULL"
        )
        return {ResultKey(*row) for row in rows}

    def results(self, hashes: Iterable[str], stopped_in: str = "") -> dict[str, Result]:
        """Results of these trials, by config hash: complete ones, or those a sweep stopped."""
        wanted = set(hashes)
        rows = self._db.execute(
            "SELECT config_hash, status, summary FROM results WHERE stopped_in = ?", (stopped_in,)
        )
        return {row[0]: Result(row[1], json.loads(row[2])) for row in rows if row[0] in wanted}

    def failures(self, hashes: Iterable[str]) -> dict[str, Failure]:
        """Failures of these trials, by config hash."""
        wanted = set(hashes)
        rows = self._db.execute("SELECT config_hash, error, final FROM failures")
        return {row[0]: Failure(row[1], bool(row[2])) for row in rows if row[0] in wanted}

    def configs(self) -> list[tuple[str, dict[str, Any]]]:
        """(hash, config) of every finished trial, the latest last."""
        rows = self._db.execute("SELECT head FROM results WHERE stopped_in = ''")
        heads = [json.loads(row[0]) for row in rows]
        heads.sort(key=lambda head: int(head["finished"]))
        return [(head["config_hash"], head["config"]) for head in heads]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Ledger]:
    """Open a ledger read-only, also in a folder that this user cannot write to.

    Raises:
        OutputRootError: it cannot be read, or is damaged.
    """
    with explained_errors(path, DAMAGED):
        ledger = Ledger(path, read_only=True)
    with contextlib.closing(ledger), explained_errors(path, DAMAGED, DATABASE_ERRORS):
        yield ledger
