"""Errors of the output root and its disk, each as one line with its remedy.

Code that opens a file under the output root does so inside `explained_errors`. An error that
still reaches the command line goes through `explanation`.
"""

import contextlib
import errno
import json
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import DiskError, OutputRootError, SweepsError

# Errors of reading rows of a database, damaged rows included.
DATABASE_ERRORS = (sqlite3.Error, zlib.error, json.JSONDecodeError)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_REFUSED = {errno.EACCES, errno.EPERM}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST}
_PLACE = _REFUSED | _NO_FOLDER | {errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
# Beginnings of SQLite's error names.
_SQLITE_DISK = ("SQLITE_FULL", "SQLITE_IOERR")
_SQLITE_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
_SQLITE_REFUSED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_SQLITE_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_ELSEWHERE = "choose another paths.output"


@contextlib.contextmanager
def explained_errors(
    path: Path,
    damaged: str = "move it away",
    caught: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Iterator[None]:
    """Raise errors of the block as one line about this file or folder.

    Args:
        path: the file or folder that is opened, for errors that name none.
        damaged: the remedy where the file is damaged.
        caught: the errors to explain; others pass.

    Raises:
        DiskError: the disk is full or fails.
        OutputRootError: any other error of a file, a folder or an SQLite database.
    """
    try:
        yield
    except SweepsError:
        raise
    except caught as error:
        explained = explanation(error, path, damaged)
        if explained is None:
            raise
        raise explained from error


def explanation(
    error: BaseException, path: Path | None = None, damaged: str = "move it away"
) -> SweepsError | None:
    """One line on an error of the output root; None for any other error.

    The error may be wrapped in others, as SQLAlchemy and MLflow do. Without `path`, only an
    error that names a file, and one of a database or a full disk, is explained.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return _of_file(cause, path)
        if isinstance(cause, sqlite3.Error):
            return _of_database(cause, path, damaged)
        if path and isinstance(cause, DATABASE_ERRORS):
            return OutputRootError(f"{path} is damaged ({cause}): {damaged}")
        cause = cause.__cause__ or cause.__context__
    return None


def _of_file(error: OSError, path: Path | None) -> SweepsError | None:
    where, why = error.filename or path, error.strerror or str(error)
    if error.errno in _DISK:
        return _full(where, why)
    if where is None or not (path or error.errno in _PLACE):
        return None
    if error.errno == errno.EROFS:
        problem = "is read-only:"
    elif error.errno in _REFUSED:
        problem = f"is not accessible to this user ({why}): change its permissions, or"
    elif error.errno in _NO_FOLDER:
        problem = "is a file where a folder is needed:"
    else:
        problem = f"cannot be used ({why}):"
    return OutputRootError(f"{where} {problem} {_ELSEWHERE}")


def _of_database(error: sqlite3.Error, path: Path | None, damaged: str) -> SweepsError | None:
    name = getattr(error, "sqlite_errorname", None) or ""
    where = path or "a database of the output root"
    if name.startswith(_SQLITE_DISK):
        return _full(path, str(error))
    if name.startswith(_SQLITE_LOCKED):
        return OutputRootError(
            f"{where} is locked by another program: wait until that has ended, or {_ELSEWHERE}"
        )
    if name == "SQLITE_READONLY_ROLLBACK":
        return OutputRootError(
            f"{where} was left half-written by a program that was killed: any command of its owner "
            f"mends it, `sweeps status` say, or {_ELSEWHERE}"
        )
    if name.startswith(_SQLITE_REFUSED):
        return OutputRootError(
            f"{where} cannot be opened as is needed here ({error}): change the permissions of "
            f"the file and its folder, or {_ELSEWHERE}"
        )
    if name.startswith(_SQLITE_DAMAGED) or "decode to UTF-8" in str(error):
        return OutputRootError(f"{where} is damaged ({error}): {damaged}")
    return None


def _full(where: object, why: str) -> DiskError:
    return DiskError(
        f"the disk of {where or 'the output root'} does not take what is written ({why}): "
        "make room, then run the same command to continue from here"
    )
