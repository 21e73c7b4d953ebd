"""Creates and upgrades the tables of the embedded MLflow store, atomically.

MLflow itself does it in place, step by step, and refuses a store for ever if that was
interrupted. Here it is done on a second file, which then gets the store's name. Private functions
of `mlflow.store.db.utils` are used.
"""

import contextlib
import logging
import os
import re
import sqlite3
from pathlib import Path

from sweeps.errors import TrackingError

_log = logging.getLogger(__name__)


def ensure(path: Path) -> bool:
    """Create the store if there is none, or upgrade it if an older MLflow wrote it.

    A store without runs, which an interruption may have left incomplete, is created again. The
    store of an older MLflow is kept as `mlflow.db.REVISION`.

    Args:
        path: the store's file.

    Returns:
        Whether the file was replaced.

    Raises:
        TrackingError: an MLflow that this one does not know wrote it; or the upgrade failed,
            and the store did not change.
        sqlite3.Error, OSError: the file or its disk cannot be used.
    """
    revision, has_runs = _inspect(path) if path.exists() else ("", False)
    revisions = _revisions()
    if revision == revisions[0]:
        return False
    if revision and revision not in revisions:
        raise TrackingError(
            f"{path} was written by another version of MLflow (schema {revision}): install "
            "that version, or choose another paths.output"
        )
    new = path.with_name(f"{path.name}.new")
    _remove(new)
    if has_runs:
        _upgrade(path, new, revision)
    else:
        _migrate(new, create=True)
    _install(new, path)
    return True


def _inspect(path: Path) -> tuple[str, bool]:
    """Return a store's schema revision ("" if it has none), and whether it holds runs."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return _first(db, "alembic_version", "version_num"), bool(_first(db, "runs", "run_uuid"))


def _first(db: sqlite3.Connection, table: str, column: str) -> str:
    """Return a value of a column; "" if the table does not exist or is empty."""
    exists = "SELECT 1 FROM sqlite_master WHERE name = ?"
    if not db.execute(exists, (table,)).fetchone():
        return ""
    row = db.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()  # noqa: S608
    return str(row[0]) if row else ""


def _revisions() -> list[str]:
    """Return the schema revisions that this MLflow knows, the latest first.

    They are read from the text of its migrations: alembic would import each, which takes a
    second.
    """
    import mlflow

    folder = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    before = {_constant("revision", text): _constant("down_revision", text) for text in texts}
    newest = set(before) - set(before.values())
    revisions = [*newest]
    while revisions and (earlier := before[revisions[-1]]):
        revisions.append(earlier)
    return revisions


def _constant(name: str, text: str) -> str:
    """Return the value of a string constant in a module's text; "" if it is None."""
    match = re.search(rf'^{name}\b[^=\n]*= *["\'](\w+)["\']', text, re.MULTILINE)
    return match[1] if match else ""


def _migrate(path: Path, *, create: bool) -> None:
    """Create or upgrade the tables of a file that nobody else uses."""
    from mlflow.store.db import utils
    from sqlalchemy import event

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    # `_install` waits for the disk once; waiting at every step would take seconds.
    event.listen(engine, "connect", lambda db, _: db.execute("PRAGMA synchronous = OFF"))
    try:
        if create:
            utils._initialize_tables(engine)
        else:
            utils._upgrade_db(engine)
    finally:
        engine.dispose()


def _upgrade(path: Path, new: Path, revision: str) -> None:
    """Keep a copy of the store under another name, and write an upgraded copy to `new`."""
    from alembic.util import CommandError
    from sqlalchemy.exc import DatabaseError

    kept = path.with_name(f"{path.name}.{revision or 'unknown'}")
    _copy(path, new)
    _install(new, kept)
    _copy(path, new)
    try:
        _migrate(new, create=False)
    except (DatabaseError, CommandError) as error:
        if isinstance(error.__cause__, sqlite3.Error) and _is_disk_error(error.__cause__):
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"{path} could not be upgraded to this version of MLflow ({why}) and is as it was: "
            "install the version that wrote it, or choose another paths.output"
        ) from error
    _log.warning("MLflow's store was upgraded; as it was before, it is kept in %s", kept)


def _is_disk_error(error: sqlite3.Error) -> bool:
    return error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR"))


def _copy(source: Path, target: Path) -> None:
    """Copy a database, with the content of its write-ahead log."""
    with (
        contextlib.closing(sqlite3.connect(source)) as from_,
        contextlib.closing(sqlite3.connect(target)) as to,
    ):
        from_.backup(to)


def _install(new: Path, path: Path) -> None:
    """Rename a complete database once it is on disk."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    _remove(path, "-journal", "-wal", "-shm")  # SQLite would apply the old file's log
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path, *suffixes: str) -> None:
    for suffix in suffixes or ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
