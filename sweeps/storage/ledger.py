"""The durable ledger under the output root: results, failures, sweeps, and what MLflow is owed.

One SQLite file, written by the driver only; every write is on disk before it returns.
"""

import contextlib
import hashlib
import json
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.storage import database
from sweeps.storage.disk_errors import DATABASE_ERRORS, explained
from sweeps.storage.pending import Outbox
from sweeps.storage.record import Columns, Record, columns_of, stopped_key
from sweeps.storage.stop_requests import STOPPED_BY

# What to do where the file is damaged.
DAMAGED = "move it and its -wal and -shm away; what MLflow holds of its trials is then used"
_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    config_hash TEXT PRIMARY KEY, status TEXT NOT NULL, summary TEXT NOT NULL,
    head TEXT NOT NULL, environment TEXT NOT NULL, trajectory BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS figures (config_hash TEXT PRIMARY KEY, png BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS environments (digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    config_hash TEXT PRIMARY KEY, error TEXT NOT NULL, final INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sweeps (
    tracker TEXT NOT NULL, study TEXT NOT NULL, sweep TEXT NOT NULL,
    spec BLOB NOT NULL, experiment TEXT NOT NULL, run_id TEXT NOT NULL,
    status TEXT NOT NULL, published INTEGER NOT NULL,
    PRIMARY KEY (tracker, study, sweep));
CREATE TABLE IF NOT EXISTS outbox (
    tracker TEXT NOT NULL, study TEXT NOT NULL, config_hash TEXT NOT NULL,
    sweep TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT,
    PRIMARY KEY (tracker, study, config_hash));
"""


@dataclass(frozen=True)
class Result:
    """What a table needs of a finished trial: how it ended, and its summary metrics."""

    status: str
    summary: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """Why a trial has no result, and whether trying again is of no use."""

    error: str
    final: bool

    @property
    def stopped(self) -> bool:
        """Whether a person stopped the trial: it is launched again like one that never ran."""
        return not self.final and self.error.startswith(STOPPED_BY)


@dataclass(frozen=True)
class SweepEntry:
    """A sweep that was launched.

    Attributes:
        study, sweep: its names.
        spec: its command and trials, as plain data.
        experiment, run_id: its page in MLflow.
        status: RUNNING while a driver works on it, then FINISHED, FAILED or KILLED.
        tracker: which MLflow it is recorded in.
        published: whether its page there says how it ended.
    """

    study: str
    sweep: str
    spec: dict[str, Any]
    experiment: str
    run_id: str
    status: str
    tracker: str = ""
    published: bool = False


@dataclass(frozen=True)
class Page:
    """A sweep's page in MLflow as the ledger remembers it.

    Attributes:
        run_id: its run.
        status: how the sweep ended; RUNNING while a driver works on it.
        published: whether the page was told so.
    """

    run_id: str
    status: str
    published: bool


class Ledger(Outbox):
    """Results by config hash. One connection serves one thread at a time.

    What a sweep stopped early is kept under `HASH@SWEEP`: no result of its configuration.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, creating it when new; read-only, nothing is created or written.

        Raises:
            ConfigError: it was written by another version of this tool.
            sqlite3.Error, OSError: it cannot be opened; `reading` explains them.
        """
        self.path = path
        opened = database.read if read_only else database.write
        self._db = opened(path, _SCHEMA, _VERSION)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(self, record: Record, figure: bytes = b"") -> None:
        """Keep a result; one that is there already stays. Its figure is kept until it is sent."""
        environment = record.environment_json()
        digest = hashlib.sha256(environment.encode()).hexdigest()
        values = (
            record.key,
            record.status,
            json.dumps(record.summary),
            record.head(),
            digest,
            record.parquet(),
        )
        with self._transaction():
            execute = self._db.execute
            execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", (digest, environment))
            execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)", values)
            execute("DELETE FROM failures WHERE config_hash = ?", (record.config_hash,))
            if figure:
                drawn = (record.key, figure)
                execute("INSERT OR REPLACE INTO figures VALUES (?, ?)", drawn)

    def fail(self, config_hash: str, error: str, *, final: bool) -> None:
        """Note that a trial has no result, and whether trying again is of no use."""
        self._db.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
            (config_hash, error, final, time.time()),
        )

    def forget(self, hashes: Iterable[str]) -> None:
        """Drop results, so that they are trained again."""
        rows = [(h,) for h in hashes]
        with self._transaction():
            # What a sweep stopped early is there under its hash and the sweep.
            self._db.executemany("DELETE FROM results WHERE substr(config_hash, 1, 64) = ?", rows)
            self._db.executemany("DELETE FROM failures WHERE config_hash = ?", rows)
            self._db.executemany("DELETE FROM figures WHERE substr(config_hash, 1, 64) = ?", rows)
            self._db.executemany("DELETE FROM outbox WHERE substr(config_hash, 1, 64) = ?", rows)

    def get(self, config_hash: str) -> Record | None:
        """The whole result of a hash, if there is one."""
        row = self._db.execute(
            "SELECT head, text, trajectory FROM results JOIN environments "
            "ON environment = digest WHERE config_hash = ?",
            (config_hash,),
        ).fetchone()
        return Record.joined(*row) if row else None

    def figure(self, config_hash: str) -> bytes:
        """The figure of a trial that was not sent yet; empty where its worker drew none."""
        row = self._db.execute(
            "SELECT png FROM figures WHERE config_hash = ?", (config_hash,)
        ).fetchone()
        return row[0] if row else b""

    def records_like(
        self, prefix: str, *, steps: bool = True, stopped: bool = False
    ) -> list[Record]:
        """The results whose hash begins so, with or without their steps.

        Those of trials that came to their end, or those of trials that were stopped early.
        """
        columns = "head, text, trajectory" if steps else "head, text"
        rows = self._db.execute(
            f"SELECT {columns} FROM results JOIN environments ON environment = digest "  # noqa: S608
            "WHERE substr(config_hash, 1, ?) = ? AND (instr(config_hash, '@') > 0) = ?",
            (len(prefix), prefix, stopped),
        )
        return [Record.joined(*row) for row in rows]

    def with_weights(self) -> set[str]:
        """Keys of the results whose weights were kept: `HASH`, or `HASH@SWEEP`."""
        query = "SELECT config_hash FROM results WHERE json_extract(head, '$.weights') IS NOT NULL"
        return {row[0] for row in self._db.execute(query)}

    def made(self, config_hash: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A result's head and environment, without its trajectory."""
        row = self._db.execute(
            "SELECT head, text FROM results JOIN environments ON environment = digest "
            "WHERE config_hash = ?",
            (config_hash,),
        ).fetchone()
        return (json.loads(row[0]), json.loads(row[1])) if row else None

    def trajectory(self, config_hash: str) -> Columns | None:
        """A trial's columns of every step, where it is held here."""
        row = self._db.execute(
            "SELECT trajectory FROM results WHERE config_hash = ?", (config_hash,)
        ).fetchone()
        return columns_of(row[0]) if row else None

    def trajectory_in(self, sweep: str, config_hash: str) -> Columns | None:
        """The same as a sweep sees it, which may have stopped the trial early."""
        ended = self.trajectory(config_hash)
        return ended if ended else self.trajectory(stopped_key(config_hash, sweep))

    def results(self, hashes: Iterable[str]) -> dict[str, Result]:
        """The results of those of these hashes that are finished."""
        wanted = set(hashes)
        rows = self._db.execute("SELECT config_hash, status, summary FROM results")
        return {row[0]: Result(row[1], json.loads(row[2])) for row in rows if row[0] in wanted}

    def stopped(self, sweep: str) -> dict[str, Result]:
        """The trials that this sweep stopped early, by config hash."""
        rows = self._db.execute(
            "SELECT config_hash, status, summary FROM results WHERE substr(config_hash, 65) = ?",
            (f"@{sweep}",),
        )
        return {row[0][:64]: Result(row[1], json.loads(row[2])) for row in rows}

    def failures(self, hashes: Iterable[str]) -> dict[str, Failure]:
        """Those of these hashes that failed, and why."""
        wanted = set(hashes)
        rows = self._db.execute("SELECT config_hash, error, final FROM failures")
        return {row[0]: Failure(row[1], bool(row[2])) for row in rows if row[0] in wanted}

    def configs(self) -> list[tuple[str, dict[str, Any]]]:
        """(hash, config) of every finished trial, the latest last."""
        rows = self._db.execute("SELECT head FROM results WHERE instr(config_hash, '@') = 0")
        heads = [json.loads(row[0]) for row in rows]
        heads.sort(key=lambda head: int(head["finished"]))
        return [(head["config_hash"], head["config"]) for head in heads]

    def open_sweep(self, tracker: str, entry: SweepEntry) -> None:
        """A driver begins to work on this sweep; its page is to be published afterwards."""
        spec = zlib.compress(json.dumps(entry.spec).encode())
        values = (entry.study, entry.sweep, spec, entry.experiment, entry.run_id, entry.status)
        self._db.execute(
            "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?, ?, ?, ?, ?, 0)", (tracker, *values)
        )

    def end_sweep(self, tracker: str, study: str, sweep: str, status: str) -> None:
        """The driver is done with it."""
        self._db.execute(
            "UPDATE sweeps SET status = ? WHERE tracker = ? AND study = ? AND sweep = ?",
            (status, tracker, study, sweep),
        )

    def published(self, tracker: str, study: str, sweep: str, *, done: bool = True) -> None:
        """Its page in MLflow says how it ended; or, when not done, is to be written again."""
        self._db.execute(
            "UPDATE sweeps SET published = ? WHERE tracker = ? AND study = ? AND sweep = ?",
            (done, tracker, study, sweep),
        )

    def sweep_states(self, tracker: str, entry: SweepEntry) -> None:
        """Replace the spec of a sweep under way; its page may have been begun anew meanwhile."""
        spec = zlib.compress(json.dumps(entry.spec).encode())
        self._db.execute(
            "UPDATE sweeps SET spec = ? WHERE tracker = ? AND study = ? AND sweep = ?",
            (spec, tracker, entry.study, entry.sweep),
        )

    def paged(self, tracker: str, study: str, sweep: str, experiment: str, run_id: str) -> None:
        """Note where the page of a sweep lies in MLflow now."""
        self._db.execute(
            "UPDATE sweeps SET experiment = ?, run_id = ? "
            "WHERE tracker = ? AND study = ? AND sweep = ?",
            (experiment, run_id, tracker, study, sweep),
        )

    def sweep(self, tracker: str, study: str, sweep: str) -> SweepEntry | None:
        """What is known of a sweep."""
        found = self._sweeps("tracker = ? AND study = ? AND sweep = ?", tracker, study, sweep)
        return found[0] if found else None

    def page(self, tracker: str, study: str, sweep: str) -> tuple[str, str]:
        """A sweep's experiment and run in MLflow, without the list of its trials."""
        experiment, run_id = self._db.execute(
            "SELECT experiment, run_id FROM sweeps WHERE tracker = ? AND study = ? AND sweep = ?",
            (tracker, study, sweep),
        ).fetchone()
        return experiment, run_id

    def sweeps_like(self, prefix: str, tracker: str | None = None) -> list[SweepEntry]:
        """The sweeps, of any study, whose name begins so; the latest last."""
        begins, order = "substr(sweep, 1, ?) = ?", "ORDER BY rowid"
        if tracker is None:
            return self._sweeps(f"{begins} {order}", len(prefix), prefix)
        return self._sweeps(f"{begins} AND tracker = ? {order}", len(prefix), prefix, tracker)

    def studies(self, tracker: str) -> list[str]:
        """Names of the studies that have a sweep recorded there."""
        query = "SELECT DISTINCT study FROM sweeps WHERE tracker = ? ORDER BY study"
        return [row[0] for row in self._db.execute(query, (tracker,))]

    def pages(self, tracker: str, study: str) -> dict[str, Page]:
        """Remembered pages of a study's sweeps, the latest sweep last."""
        rows = self._db.execute(
            "SELECT sweep, run_id, status, published FROM sweeps "
            "WHERE tracker = ? AND study = ? ORDER BY rowid",
            (tracker, study),
        )
        return {row[0]: Page(row[1], row[2], bool(row[3])) for row in rows}

    def unpublished(self, tracker: str) -> list[SweepEntry]:
        """Sweeps whose page does not yet say how they ended."""
        return self._sweeps("tracker = ? AND NOT published", tracker)

    def _sweeps(self, where: str, *values: str | int) -> list[SweepEntry]:
        rows = self._db.execute(
            "SELECT study, sweep, spec, experiment, run_id, status, tracker, published "  # noqa: S608
            f"FROM sweeps WHERE {where}",
            values,
        )
        return [
            SweepEntry(
                study=study,
                sweep=sweep,
                spec=json.loads(zlib.decompress(spec)),
                experiment=experiment,
                run_id=run_id,
                status=status,
                tracker=tracker,
                published=bool(published),
            )
            for study, sweep, spec, experiment, run_id, status, tracker, published in rows
        ]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Ledger]:
    """Open a ledger to look into it; also in a folder that this user cannot write to.

    Raises:
        OutputRootError: it cannot be read, or is damaged.
    """
    with explained(path, DAMAGED):
        ledger = Ledger(path, read_only=True)
    with contextlib.closing(ledger), explained(path, DAMAGED, DATABASE_ERRORS):
        yield ledger
