"""The group all commands belong to, and what they share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sweeps import __version__
from sweeps.cli.words import complete_override

if TYPE_CHECKING:
    from sweeps.config import Request

# Exit codes: every trial has a result, and MLflow has not taken all of it; a person
# interrupted the sweep or stopped some of its trials.
UNSENT, INTERRUPTED = 3, 130

OVERRIDES = click.argument("overrides", nargs=-1, shell_complete=complete_override)
MULTIRUN = click.option("-m", "--multirun", is_flag=True, help="Accepted, as Hydra users type it.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Sweep over how deep equilibrium models train, theory beside measurement."""


def request(overrides: Sequence[str]) -> "Request":
    """Compose a command's overrides, as `sweeps.config.request` does.

    Raises:
        ConfigError: any override, key, type or value is wrong.
    """
    from sweeps import config  # torch and Hydra come with it: not for --help

    return config.request(overrides)
