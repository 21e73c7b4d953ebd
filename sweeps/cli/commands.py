"""The group with all its commands: each file of commands adds its own when it is imported."""

from sweeps.cli import compare, launch, plan, project, record, share, shells
from sweeps.cli.group import cli

__all__ = ["cli", "compare", "launch", "plan", "project", "record", "share", "shells"]
