"""The command line: `sweeps COMMAND [hydra overrides]`; one file for each group of commands.

Nothing here imports what a command needs until it is called: `sweeps --help` is quick, and
signals are heeded from the first moment.
"""

from typing import TYPE_CHECKING, Any

from sweeps.cli.signals import handling_signals

if TYPE_CHECKING:
    from sweeps.cli.group import cli

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command line.

    Exit codes: 0 complete, 1 a trial failed, 2 wrong command, 3 MLflow has not taken all,
    130 interrupted.
    """
    with handling_signals():
        from sweeps.cli.entry import enter

        enter()


def __getattr__(name: str) -> Any:
    """The group of all commands, imported when it is asked for."""
    if name != "cli":
        raise AttributeError(f"module 'sweeps.cli' has no attribute {name!r}")
    from sweeps.cli.commands import cli

    return cli
