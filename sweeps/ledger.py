"""The durable ledger under the output root: results, failures, and what MLflow is owed.

One SQLite file, written by the driver only; every write is on disk before it returns.
"""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.record import Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (config_hash TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    config_hash TEXT PRIMARY KEY, error TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    tracker TEXT NOT NULL, study TEXT NOT NULL, config_hash TEXT NOT NULL,
    sweep TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT,
    PRIMARY KEY (tracker, study, config_hash));
"""


@dataclass(frozen=True)
class Owed:
    """A finished trial MLflow has not been told of."""

    study: str
    config_hash: str
    sweep: str
    name: str


class Ledger:
    """Results by config hash; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(self, record: Record) -> None:
        """Keep a result; one that is there already stays."""
        self._db.execute(
            "INSERT OR IGNORE INTO results VALUES (?, ?)", (record.config_hash, record.to_json())
        )
        self._db.execute("DELETE FROM failures WHERE config_hash = ?", (record.config_hash,))

    def fail(self, config_hash: str, error: str) -> None:
        """Note that a trial raised."""
        self._db.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (config_hash, error, time.time())
        )

    def forget(self, hashes: Iterable[str]) -> None:
        """Drop results, so that they are trained again."""
        rows = [(h,) for h in hashes]
        self._db.executemany("DELETE FROM results WHERE config_hash = ?", rows)
        self._db.executemany("DELETE FROM outbox WHERE config_hash = ?", rows)

    def get(self, config_hash: str) -> Record | None:
        """The result of a hash, if there is one."""
        row = self._one("SELECT record FROM results WHERE config_hash = ?", config_hash)
        return Record.from_json(row[0]) if row else None

    def finished(self, hashes: Iterable[str]) -> set[str]:
        """Which of these hashes have a result."""
        known = {row[0] for row in self._db.execute("SELECT config_hash FROM results")}
        return known & set(hashes)

    def failures(self, hashes: Iterable[str]) -> dict[str, str]:
        """The errors of those of these hashes that failed."""
        known = dict(self._db.execute("SELECT config_hash, error FROM failures"))
        return {h: known[h] for h in hashes if h in known}

    def owe(self, tracker: str, owed: Owed) -> None:
        """MLflow at `tracker` is to be sent this result, unless it was."""
        self._db.execute(
            "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?, NULL)",
            (tracker, owed.study, owed.config_hash, owed.sweep, owed.name),
        )

    def owed(self, tracker: str) -> list[Owed]:
        """What is still to be sent and has a result."""
        rows = self._db.execute(
            "SELECT study, config_hash, sweep, name FROM outbox WHERE tracker = ? "
            "AND run_id IS NULL AND config_hash IN (SELECT config_hash FROM results)",
            (tracker,),
        )
        return [Owed(*row) for row in rows]

    def shipped(self, tracker: str, owed: Owed, run_id: str) -> None:
        """It was sent, as this run."""
        self._db.execute(
            "UPDATE outbox SET run_id = ? WHERE tracker = ? AND study = ? AND config_hash = ?",
            (run_id, tracker, owed.study, owed.config_hash),
        )

    def _one(self, query: str, *values: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row
