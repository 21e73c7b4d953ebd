"""The command that starts a user's own project: init."""

import shlex
from pathlib import Path

import click

from sweeps.cli.group import cli


@cli.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path())
def init(folder: str) -> None:
    """Write a small project of your own.

    It is written into DIR, by default the current folder. It holds an experiment that can be
    run at once, an activation, and a README with five commands. Existing files are never
    replaced: exit 2, and nothing is written.
    """
    from sweeps.config import project_template

    if not folder.strip():
        raise click.UsageError("DIR is empty: name a folder, or leave it out for this one")
    place = Path(folder)
    for name in project_template.write_project(place):
        click.echo(f"wrote {place / name}")
    change = "" if place == Path() else f"cd {shlex.quote(folder)} && "
    click.echo(f"To run it: {change}sweeps run experiment=first")
