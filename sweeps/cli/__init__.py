"""The command line: `sweeps COMMAND [hydra overrides]`; one file for each group of commands.

Nothing here imports what a command needs until it is called: `sweeps --help` is quick, and
signals are heeded from the first moment.
"""

import atexit
import gc
from typing import TYPE_CHECKING, Any

from sweeps.cli.interruption import heeded

if TYPE_CHECKING:
    from sweeps.cli.group import cli

__all__ = ["cli", "main"]

# After how many new objects garbage is looked for, and how often in those that were kept once
# and twice. The imports of a run make a million objects and all of them stay: with Python's
# own thresholds a fifth of a short run's CPU time goes into looking through them.
THRESHOLDS = (50_000, 5, 5)


def main() -> None:
    """Run the command line.

    Exit codes: 0 complete, 1 a trial failed, 2 wrong command, 3 MLflow has not taken all,
    130 interrupted.
    """
    gc.set_threshold(*THRESHOLDS)
    atexit.register(gc.freeze)  # at the end of the process all memory is given back anyway
    with heeded():
        from sweeps.cli.entry import enter

        enter()


def __getattr__(name: str) -> Any:
    """The group of all commands, imported when it is asked for."""
    if name != "cli":
        raise AttributeError(f"module 'sweeps.cli' has no attribute {name!r}")
    from sweeps.cli.commands import cli

    return cli
