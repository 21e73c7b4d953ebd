"""Entry point: run the command line and print each error in one line."""

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
from sweeps.cli.exit_codes import FAILED, INTERRUPTED, WRONG
from sweeps.cli.streams import full_stdout, prepare_streams
from sweeps.errors import ClusterLostError, ConfigError, DiskError, StoppedError, SweepsError
from sweeps.redaction import without_secrets
from sweeps.storage.disk_errors import explanation


def run() -> None:
    """Run the command line and exit with its exit code; raise KeyboardInterrupt on Ctrl-C."""
    prepare_streams()
    sys.excepthook = _print_traceback
    threading.excepthook = lambda raised: _print_traceback(*raised[:3])
    sys.path.append(str(Path.cwd()))  # for the user's own activations in the current folder
    logging.basicConfig(format="sweeps: %(message)s", level=logging.WARNING)
    logging.getLogger("deq").setLevel(logging.INFO)  # progress of long computations
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its caches on a full disk
    try:
        cli.main(standalone_mode=False, complete_var=VARIABLE)
    except StoppedError as error:
        click.echo(f"sweeps: {error}", err=True)
        sys.exit(INTERRUPTED)
    except SweepsError as error:
        _exit_with(error)
    except click.ClickException as error:
        _exit_with(ConfigError(error.format_message()))
    except click.Abort as error:  # click raises it for KeyboardInterrupt
        raise KeyboardInterrupt from error
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except (OSError, sqlite3.Error) as error:
        explained = explanation(error)
        if explained is None:
            raise
        _exit_with((full_stdout() if isinstance(explained, DiskError) else None) or explained)


def _exit_with(error: SweepsError) -> None:
    """Print the error and exit: 1 for a failing disk or a lost cluster, else 2."""
    click.echo(f"sweeps: {without_secrets(' '.join(str(error).split()))}", err=True)
    sys.exit(FAILED if isinstance(error, DiskError | ClusterLostError) else WRONG)


def _print_traceback(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """Print a traceback as Python does, but without secrets."""
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))
