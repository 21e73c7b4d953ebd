"""The group of all commands, and the options and helpers that commands share."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sweeps import __version__
from sweeps.cli.complete_overrides import CONFIG_DIR, complete_override
from sweeps.cli.exit_codes import FAILED, INTERRUPTED, PENDING

if TYPE_CHECKING:
    from sweeps.config.launch import LaunchConfig
    from sweeps.config.request import Request
    from sweeps.driver.launch_result import Finished

Command = TypeVar("Command", bound=Callable[..., Any])


def with_config_dir(command: Command) -> Command:
    """Add the option --config-dir to a command."""
    option = click.option(
        "--config-dir",
        "-cd",
        metavar="DIR",
        type=click.Path(),
        multiple=True,
        expose_value=False,
        callback=_store_config_dir,
        help="Your own folder of config files; it comes before conf/ in the current folder.",
    )
    return option(command)


def with_overrides(command: Command) -> Command:
    """Add OVERRIDES and --config-dir to a command."""
    argument = click.argument("overrides", nargs=-1, shell_complete=complete_override)
    return argument(with_config_dir(command))


def _store_config_dir(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> None:
    del parameter
    if len(values) > 1:
        raise click.UsageError(f"--config-dir {values[1]}: name one folder, not {len(values)}")
    context.meta[CONFIG_DIR] = next(iter(values), None)


MULTIRUN = click.option(
    "-m",
    "--multirun",
    is_flag=True,
    expose_value=False,
    help="Accepted for Hydra users; it changes nothing.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Sweeps over the training of deep equilibrium models, with theory beside measurement."""


def config_dir() -> str | None:
    """Value of the running command's --config-dir."""
    folder: str | None = click.get_current_context().meta.get(CONFIG_DIR)
    return folder


def compose(overrides: Sequence[str]) -> "Request":
    """Compose the running command's overrides with --config-dir.

    Raises:
        ConfigError: an override, key, type or value is wrong, or the folder of --config-dir
            cannot be used.
    """
    from sweeps.config.request import request

    return request(overrides, config_dir())


def compose_launch(overrides: Sequence[str]) -> "LaunchConfig":
    """Compose the overrides of a command that composes no trial.

    Raises:
        ConfigError: as `compose`; or an override is part of a trial, and would be ignored.
    """
    from sweeps.config.trial_keys import is_part_of_trial  # imports the config's types
    from sweeps.errors import ConfigError

    for word in overrides:
        if is_part_of_trial(word.lstrip("+~").partition("=")[0]):
            raise ConfigError(f"{word}: it is part of a trial, and this command composes none")
    return compose(overrides).launch


def warn_hidden(request: "Request") -> None:
    """Name on standard error the user's config files that replace files of sweeps."""
    for file in request.files:
        if file.hides:
            click.echo(f"{file.name}: {file.path} takes the place of sweeps' own", err=True)


def is_override(word: str) -> bool:
    """True for `KEY=VALUE`, False for a name or a hash."""
    return "=" in word


def exit_with(*sweeps: "Finished") -> None:
    """Exit with the code of finished sweeps: that of the worst; return if all is well."""
    if any(finished.failed for finished in sweeps):
        sys.exit(FAILED)
    if any(finished.stopped for finished in sweeps):
        sys.exit(INTERRUPTED)
    if any(finished.waits for finished in sweeps):
        sys.exit(PENDING)
