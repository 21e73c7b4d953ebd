"""The group with all commands: each imported module adds its own."""

from sweeps.cli import compare, completion, launch, plan, project, record, transfer, verify
from sweeps.cli.group import cli

__all__ = ["cli", "compare", "completion", "launch", "plan", "project"]
__all__ += ["record", "transfer", "verify"]
