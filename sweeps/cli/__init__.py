"""The command line: `sweeps COMMAND [hydra overrides]`; one file for each group of commands.

Signal handlers are installed before anything else is imported. Each command imports what it
needs when it is called, so `--help` and shell completion are quick.
"""

import atexit
import gc
from typing import TYPE_CHECKING, Any

from sweeps.cli.signals import handling_signals

if TYPE_CHECKING:
    from sweeps.cli.group import cli

__all__ = ["cli", "main"]

# Thresholds of Python's garbage collector. The imports of a run make a million objects that
# all stay; with the default thresholds, a fifth of a short run's CPU time goes into scanning
# them.
THRESHOLDS = (50_000, 5, 5)


def main() -> None:
    """Run the command line.

    Exit codes: 0 complete, 1 a trial failed, 2 wrong command, 3 MLflow has not received all
    results yet, 130 interrupted.
    """
    gc.set_threshold(*THRESHOLDS)
    atexit.register(gc.freeze)  # no last collection when the process ends
    try:
        with handling_signals():
            from sweeps.cli.entry import run

            run()
    except SystemExit as ending:
        from sweeps.execution.abandoned import exit_without_them

        exit_without_them(
            ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        )
        raise


def __getattr__(name: str) -> Any:
    """The group of all commands, imported on first access."""
    if name != "cli":
        raise AttributeError(f"module 'sweeps.cli' has no attribute {name!r}")
    from sweeps.cli.commands import cli

    return cli
