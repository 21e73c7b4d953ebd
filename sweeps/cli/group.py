"""The group all commands belong to, and what they share."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sweeps import __version__
from sweeps.cli.complete_overrides import CONFIG_DIR, complete_override

if TYPE_CHECKING:
    from sweeps.config.request import Request

# Exit codes: every trial has a result, and MLflow has not taken all of it; a person
# interrupted the sweep or stopped some of its trials.
UNSENT, INTERRUPTED = 3, 130

Command = TypeVar("Command", bound=Callable[..., Any])


def with_config_dir(command: Command) -> Command:
    """Give a command the option --config-dir, which `request` reads."""
    option = click.option(
        "--config-dir",
        "-cd",
        metavar="DIR",
        type=click.Path(),
        expose_value=False,
        callback=_note_config_dir,
        help="A folder of config files of your own, before conf/ in the current folder and ours.",
    )
    return option(command)


def with_overrides(command: Command) -> Command:
    """Give a command its OVERRIDES, and --config-dir."""
    argument = click.argument("overrides", nargs=-1, shell_complete=complete_override)
    return argument(with_config_dir(command))


def _note_config_dir(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del parameter
    context.meta[CONFIG_DIR] = value


MULTIRUN = click.option("-m", "--multirun", is_flag=True, help="Accepted, as Hydra users type it.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Sweep over how deep equilibrium models train, theory beside measurement."""


def config_dir() -> str | None:
    """The folder that the command under way names by --config-dir."""
    named: str | None = click.get_current_context().meta.get(CONFIG_DIR)
    return named


def request(overrides: Sequence[str]) -> "Request":
    """Compose a command's overrides, as `sweeps.config.request.request` does.

    Raises:
        ConfigError: any override, key, type or value is wrong, or the folder that
            --config-dir names cannot be used.
    """
    from sweeps.config.request import request  # imports Hydra: not for --help

    return request(overrides, config_dir())


def say_hidden(asked: "Request") -> None:
    """Say on standard error which of our own config files a user's took the place of."""
    for file in asked.files:
        if file.hides:
            click.echo(f"{file.name}: {file.path} takes the place of sweeps' own", err=True)
