"""Opens the ledger's SQLite file: created or migrated in one transaction, or read only."""

import contextlib
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import ConfigError
from sweeps.storage import schema
from sweeps.storage.network_files import is_on_network

# Seconds to wait for another program that holds the file.
WRITER_WAITS, READER_WAITS = 60.0, 10.0


def write(path: Path) -> sqlite3.Connection:
    """Open the ledger's file to write to it: created when new, migrated when older.

    Raises:
        ConfigError: another version of this tool wrote it, which this one cannot migrate.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, WRITER_WAITS, isolation_level=None, check_same_thread=False)
    try:
        if _version_of(db, path) != schema.VERSION:
            _create_or_migrate(db, path)
        set_journal(db, path)
        db.execute("PRAGMA synchronous=FULL")
    except BaseException:
        db.close()
        raise
    return db


def read(path: Path) -> sqlite3.Connection:
    """Open the ledger's file to read it, also an older one; nothing is written.

    Returns:
        A connection; to an empty ledger in memory where the file holds nothing.

    Raises:
        ConfigError: another version of this tool wrote it, which this one cannot read.
    """
    db = read_only(path)
    try:
        version = _version_of(db, path)
        for view in schema.VIEWS.get(version, []):
            db.execute(view)
        if version:
            return db
    except BaseException:
        db.close()
        raise
    db.close()
    empty = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    empty.executescript(schema.TABLES)
    return empty


def read_only(path: Path, waits: float = READER_WAITS) -> sqlite3.Connection:
    """Open an SQLite file with mode=ro, or immutable where this user must not create its log.

    A file with a rollback journal needs no other file to be read, but what a writer left
    half-written when it was killed is rolled back first.

    The log (-wal) of a writer is read where there is one. Where there is none, SQLite creates
    an empty one. Only a user who may write to the file may do that: a log that belongs to
    another user would lock the owner out.

    Args:
        path: the file.
        waits: seconds to wait for a program that holds it.
    """
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"
    if path.is_file() and not _has_log(path):
        return _rolled_back(address, waits)
    logged = _log_of(path).exists()
    if logged or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        try:
            return _connected(address, waits)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname.startswith("SQLITE_BUSY") or _size(_log_of(path)):
                raise
    return _connected(f"{address}&immutable=1", waits)


def set_journal(db: sqlite3.Connection, path: Path) -> None:
    """Set SQLite's write-ahead log, or on a network file system its rollback journal.

    With the log a commit waits for the disk once instead of three times, and readers do not wait
    for writers. But it needs memory that all who open the file share: two machines would damage
    it (https://www.sqlite.org/wal.html). A file that somebody has open stays as it is.

    Args:
        db: a connection to the file.
        path: the file.
    """
    wanted = "DELETE" if is_on_network(path) else "WAL"
    (before,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute(f"PRAGMA journal_mode = {wanted}")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise
    db.execute(f"PRAGMA busy_timeout = {before}")


def _connected(address: str, waits: float) -> sqlite3.Connection:
    db = sqlite3.connect(address, waits, isolation_level=None, check_same_thread=False, uri=True)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _rolled_back(address: str, waits: float) -> sqlite3.Connection:
    """Connect with mode=ro; undo what a writer that was killed has left, if this user may."""
    try:
        return _connected(address, waits)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
            raise
    _connected(address.replace("?mode=ro", "?mode=rw"), waits).close()
    return _connected(address, waits)


def _has_log(path: Path) -> bool:
    """Return whether an SQLite file has a write-ahead log; its format says so."""
    with path.open("rb") as file:
        return file.read(19)[18:] != b"\1"  # https://www.sqlite.org/fileformat2.html#fffmt


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _version_of(db: sqlite3.Connection, path: Path) -> int:
    """Version of the tables in the file; 0 where it holds no rows.

    Raises:
        ConfigError: it holds rows of a version that this one cannot read.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == schema.VERSION or version in schema.MIGRATIONS:
        return int(version)
    if version or any(
        db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()  # noqa: S608
        for name in _tables(db)
    ):
        raise ConfigError(
            f"{path} was written by another version of sweeps (ledger {version}, "
            f"not {schema.VERSION}): move it away, or choose another paths.output"
        )
    return 0


def _tables(db: sqlite3.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _create_or_migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the tables to the current version, in one transaction."""
    with transaction(db):
        version = _version_of(db, path)  # another process may have been quicker
        if version == schema.VERSION:
            return
        if not version:  # empty tables of a first version, which created them one by one
            for name in _tables(db):
                db.execute(f"DROP TABLE {name}")
        for statement in schema.MIGRATIONS.get(version, schema.STATEMENTS):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {schema.VERSION}")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit everything that the block writes, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")  # which raises too, when the disk is full
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
