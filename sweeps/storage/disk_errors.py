"""Errors of the output root and its disk, each as one line with its remedy.

Whoever opens a file under the output root wraps that in `explained`; what still reaches the
command line goes through `explanation`.
"""

import contextlib
import errno
import json
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import DiskError, OutputRootError, SweepsError

# What reading rows of a database raises, damaged ones too.
DATABASE_ERRORS = (sqlite3.Error, zlib.error, json.JSONDecodeError)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_REFUSED = {errno.EACCES, errno.EPERM}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST}
_PLACE = _REFUSED | _NO_FOLDER | {errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
# The beginnings of SQLite's names of its errors; Python has no name for text that is no UTF-8.
_SQLITE_DISK = ("SQLITE_FULL", "SQLITE_IOERR")
_SQLITE_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
_SQLITE_REFUSED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_SQLITE_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_ELSEWHERE = "choose another paths.output"


@contextlib.contextmanager
def explained_errors(
    path: Path,
    damaged: str = "move it away",
    kinds: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Iterator[None]:
    """Raise what the block meets at this file or folder as one line.

    Args:
        path: what is being opened, for errors that do not name a file.
        damaged: what to do where the file is damaged.
        kinds: the errors to explain; others pass.

    Raises:
        DiskError: the disk is full or fails.
        OutputRootError: any other error of a file, a folder or an SQLite database.
    """
    try:
        yield
    except SweepsError:
        raise
    except kinds as error:
        found = explanation(error, path, damaged)
        if found is None:
            raise
        raise found from error


def explanation(
    error: BaseException, path: Path | None = None, damaged: str = "move it away"
) -> SweepsError | None:
    """The line that says what an error of the output root means; None for any other error.

    The error may be wrapped, as SQLAlchemy and MLflow do. Without `path` only an error that
    names a file, or one of a database or a full disk, is explained.
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
        said = "is read-only"
    elif error.errno in _REFUSED:
        said = f"is not accessible to this user ({why}): change its permissions, or"
    elif error.errno in _NO_FOLDER:
        said = "is a file where a folder is needed"
    else:
        said = f"cannot be used ({why})"
    return OutputRootError(f"{where} {said}{'' if said.endswith('or') else ':'} {_ELSEWHERE}")


def _of_database(error: sqlite3.Error, path: Path | None, damaged: str) -> SweepsError | None:
    name = getattr(error, "sqlite_errorname", None) or ""
    where = path or "a database of the output root"
    if name.startswith(_SQLITE_DISK):
        return _full(path, str(error))
    if name.startswith(_SQLITE_LOCKED):
        return OutputRootError(
            f"{where} is locked by another program: wait until that has ended, or {_ELSEWHERE}"
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
        "make room; the same command again goes on from here"
    )
