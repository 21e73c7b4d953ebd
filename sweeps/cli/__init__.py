"""The command line: `sweeps COMMAND [hydra overrides]`; one file for each group of commands.

Nothing here imports what a command needs until it is called: `sweeps --help` is quick.
"""

from sweeps.cli import compare, launch, plan, record, share, shells
from sweeps.cli.entry import main
from sweeps.cli.group import cli

__all__ = ["cli", "compare", "launch", "main", "plan", "record", "share", "shells"]
