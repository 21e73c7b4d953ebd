"""The command that begins a project of a user's own: init."""

import shlex
from pathlib import Path

import click

from sweeps.cli.group import cli


@cli.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a small project of your own into DIR, or the current folder.

    An experiment, an activation of its own, and a README of five commands; it runs at once.
    A file that is there already is never replaced: exit 2, and nothing is written.
    """
    from sweeps.config import project_template

    for name in project_template.write_project(folder):
        click.echo(f"wrote {folder / name}")
    here = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"To run it: {here}sweeps run experiment=first")
