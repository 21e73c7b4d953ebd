"""The tables of the embedded MLflow store: made whole or not at all, upgraded on a copy.

MLflow itself makes and migrates them in place, step by step, and a store that is cut off in
the middle is refused for ever. Here the work is done on a file beside, which is then renamed.
It uses private functions of `mlflow.store.db.utils`.
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
    """Make the store where there is none, or upgrade an older MLflow's; whether a file was put.

    A store that an interruption left half-made has no runs, and is made anew. An older
    MLflow's store is kept beside, as `mlflow.db.REVISION`.

    Raises:
        TrackingError: another MLflow, which this one does not know, wrote it; or the upgrade
            failed, and the store is as it was.
        sqlite3.Error, OSError: the file or its disk cannot be used.
    """
    revision, filled = _look(path) if path.exists() else ("", False)
    known = _revisions()
    if revision == known[0]:
        return False
    if revision and revision not in known:
        raise TrackingError(
            f"{path} was written by another version of MLflow (schema {revision}): install "
            "that version, or choose another paths.output"
        )
    beside = path.with_name(f"{path.name}.new")
    _remove(beside)
    if filled:
        _upgrade(path, beside, revision)
    else:
        _migrate(beside, new=True)
    _put(beside, path)
    return True


def _look(path: Path) -> tuple[str, bool]:
    """A store's schema revision, empty where it has none, and whether runs are in it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return _first(db, "alembic_version", "version_num"), bool(_first(db, "runs", "run_uuid"))


def _first(db: sqlite3.Connection, table: str, column: str) -> str:
    named = "SELECT 1 FROM sqlite_master WHERE name = ?"
    if not db.execute(named, (table,)).fetchone():
        return ""
    row = db.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()  # noqa: S608
    return str(row[0]) if row else ""


def _revisions() -> list[str]:
    """The revisions of the schema that this MLflow knows, the latest first.

    Read from its migrations as text: alembic imports each of them, which takes a second.
    """
    import mlflow

    folder = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    before = {_named("revision", text): _named("down_revision", text) for text in texts}
    newest = set(before) - set(before.values())
    found = [*newest]
    while found and (earlier := before[found[-1]]):
        found.append(earlier)
    return found


def _named(name: str, text: str) -> str:
    """The value of a module's constant that is text; empty where it is None."""
    found = re.search(rf'^{name}\b[^=\n]*= *["\'](\w+)["\']', text, re.MULTILINE)
    return found[1] if found else ""


def _migrate(path: Path, *, new: bool) -> None:
    """Bring a file that nobody else uses to this MLflow's schema."""
    from mlflow.store.db import utils
    from sqlalchemy import event

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    # `_put` waits for the disk once; to wait at every step takes seconds.
    event.listen(engine, "connect", lambda db, _: db.execute("PRAGMA synchronous = OFF"))
    try:
        if new:
            utils._initialize_tables(engine)
        else:
            utils._upgrade_db(engine)
    finally:
        engine.dispose()


def _upgrade(path: Path, beside: Path, revision: str) -> None:
    """Keep the store as it is under another name, and make an upgraded copy of it."""
    from alembic.util import CommandError
    from sqlalchemy.exc import DatabaseError

    kept = path.with_name(f"{path.name}.{revision or 'unknown'}")
    _copy(path, beside)
    _put(beside, kept)
    _copy(path, beside)
    try:
        _migrate(beside, new=False)
    except (DatabaseError, CommandError) as error:
        if isinstance(error.__cause__, sqlite3.Error) and _is_disk(error.__cause__):
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"{path} could not be upgraded to this version of MLflow ({why}) and is as it was: "
            "install the version that wrote it, or choose another paths.output"
        ) from error
    _log.warning("MLflow's store was upgraded; as it was before, it is kept in %s", kept)


def _is_disk(error: sqlite3.Error) -> bool:
    return error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR"))


def _copy(source: Path, target: Path) -> None:
    """Copy a database as it stands, with what its log holds."""
    with (
        contextlib.closing(sqlite3.connect(source)) as from_,
        contextlib.closing(sqlite3.connect(target)) as to,
    ):
        from_.backup(to)


def _put(whole: Path, path: Path) -> None:
    """Rename a database that is complete, once it is on disk."""
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    _remove(path, "-journal", "-wal", "-shm")  # another file's log would be played into this
    whole.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path, *suffixes: str) -> None:
    for suffix in suffixes or ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
