"""The entry point: runs the command line, and says errors in one line."""

import errno
import logging
import sqlite3
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType

import click

from sweeps.cli.group import cli
from sweeps.cli.interruption import heed
from sweeps.cli.shells import VARIABLE
from sweeps.errors import SweepsError
from sweeps.redaction import without_secrets


def main() -> None:
    """Run the command line.

    Exit codes: 0 complete, 1 a trial failed, 2 wrong command, 3 MLflow has not taken all,
    130 interrupted.
    """
    heed()
    sys.excepthook = _tell
    threading.excepthook = lambda raised: _tell(*raised[:3])
    sys.path.append(str(Path.cwd()))  # for a user's own activation beside the command
    logging.basicConfig(format="sweeps: %(message)s", level=logging.WARNING)
    logging.getLogger("deq").setLevel(logging.INFO)  # what takes long is said
    try:
        cli.main(standalone_mode=False, complete_var=VARIABLE)
    except SweepsError as error:
        _refuse(str(error))
    except click.ClickException as error:
        _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("sweeps: interrupted; the same command again goes on from here", err=True)
        sys.exit(130)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_disk(error):
            raise
        click.echo(
            f"sweeps: the disk of the output root does not take what is written ({error}): "
            "make room; the same command again goes on from here",
            err=True,
        )
        sys.exit(1)


def _is_disk(error: OSError | sqlite3.OperationalError) -> bool:
    """Whether it is for want of room or a failing disk, and not a mistake of this tool."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
    return "full" in str(error) or "disk I/O" in str(error)


def _refuse(text: str) -> None:
    click.echo(f"sweeps: {without_secrets(' '.join(text.split()))}", err=True)
    sys.exit(2)


def _tell(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """A mistake of this tool: its traceback, as Python prints it, without secrets."""
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))
