"""Opening the ledger's SQLite file: made whole in one transaction, or read only."""

import contextlib
import os
import sqlite3
import urllib.parse
from pathlib import Path

from sweeps.errors import ConfigError

# Seconds to wait for another program that holds the file.
WRITER_WAITS, READER_WAITS = 60.0, 10.0


def write(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open the file to write to it, creating it and its tables when new.

    Raises:
        ConfigError: it was written by another version of this tool.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, WRITER_WAITS, isolation_level=None, check_same_thread=False)
    try:
        if not _is_current(db, path, version):
            _make(db, path, schema, version)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
    except BaseException:
        db.close()
        raise
    return db


def read(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open the file to look into it; an empty ledger in memory where it holds nothing.

    Raises:
        ConfigError: it was written by another version of this tool.
    """
    db = read_only(path)
    try:
        if _is_current(db, path, version):
            return db
    except BaseException:
        db.close()
        raise
    db.close()
    empty = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    empty.executescript(schema)
    return empty


def read_only(path: Path, waits: float = READER_WAITS) -> sqlite3.Connection:
    """Open an SQLite file with mode=ro; immutable where its log cannot be made beside it.

    The log (-wal) of a writer is read where there is one. Where there is none, SQLite would
    make an empty one: only the owner of the file may, for the owner could not write to
    somebody else's.
    """
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"
    logged = _log_of(path).exists()
    if logged or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        try:
            return _connected(address, waits)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname.startswith("SQLITE_BUSY") or _size(_log_of(path)):
                raise
    return _connected(f"{address}&immutable=1", waits)


def _connected(address: str, waits: float) -> sqlite3.Connection:
    db = sqlite3.connect(address, waits, isolation_level=None, check_same_thread=False, uri=True)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _is_current(db: sqlite3.Connection, path: Path, version: int) -> bool:
    """Whether the file has this version's tables; False where it holds nothing.

    Raises:
        ConfigError: it holds rows of another version.
    """
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found == version:
        return True
    if found or any(db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in _tables(db)):  # noqa: S608
        raise ConfigError(
            f"{path} was written by another version of sweeps (ledger {found}, "
            f"not {version}): move it away, or choose another paths.output"
        )
    return False


def _tables(db: sqlite3.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _make(db: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    """Make all tables and set the version, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if not _is_current(db, path, version):
            for name in _tables(db):  # of a version that made them one by one, and was killed
                db.execute(f"DROP TABLE {name}")
            for statement in filter(str.strip, schema.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
