"""The entry point: runs the command line, and says errors in one line."""

import logging
import sqlite3
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType

import click

from sweeps.cli.commands import cli
from sweeps.cli.completion import VARIABLE
from sweeps.cli.group import INTERRUPTED
from sweeps.cli.streams import full_stdout, prepare_streams
from sweeps.errors import ConfigError, DiskError, StoppedError, SweepsError
from sweeps.redaction import without_secrets
from sweeps.storage.disk_errors import explanation


def enter() -> None:
    """Run the command line, and exit by how it ended; an interruption is raised."""
    prepare_streams()
    sys.excepthook = _tell
    threading.excepthook = lambda raised: _tell(*raised[:3])
    sys.path.append(str(Path.cwd()))  # for a user's own activation beside the command
    logging.basicConfig(format="sweeps: %(message)s", level=logging.WARNING)
    logging.getLogger("deq").setLevel(logging.INFO)  # what takes long is said
    try:
        cli.main(standalone_mode=False, complete_var=VARIABLE)
    except StoppedError as error:
        click.echo(f"sweeps: {error}", err=True)
        sys.exit(INTERRUPTED)
    except SweepsError as error:
        _refuse(error)
    except click.ClickException as error:
        _refuse(ConfigError(error.format_message()))
    except click.Abort as error:  # click's word for an interruption
        raise KeyboardInterrupt from error
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (OSError, sqlite3.Error) as error:
        found = explanation(error)
        if found is None:
            raise
        _refuse((full_stdout() if isinstance(found, DiskError) else None) or found)


def _refuse(error: SweepsError) -> None:
    """Say what is wrong, and exit: 1 for a disk that is full or fails, 2 otherwise."""
    click.echo(f"sweeps: {without_secrets(' '.join(str(error).split()))}", err=True)
    sys.exit(1 if isinstance(error, DiskError) else 2)


def _tell(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """A mistake of this tool: its traceback, as Python prints it, without secrets."""
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))
