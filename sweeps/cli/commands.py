"""The group with all its commands: each file of commands adds its own when it is imported."""

from sweeps.cli import compare, completion, launch, plan, project, record, transfer
from sweeps.cli.group import cli

__all__ = ["cli", "compare", "completion", "launch", "plan", "project", "record", "transfer"]
