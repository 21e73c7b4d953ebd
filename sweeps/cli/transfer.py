"""Commands that share a sweep: export, import, cite."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from sweeps.cli.complete_ids import complete_sweep
from sweeps.cli.exit_codes import FAILED, PENDING
from sweeps.cli.group import cli, compose_launch, with_overrides


@cli.command(name="export")
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
@click.option(
    "-o",
    "--file",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default one in exports/ under the output root.",
)
def export_(sweep: str, overrides: tuple[str, ...], target: Path | None) -> None:
    """Write a sweep to one zip file that other tools can read.

    It holds configs and metrics (JSON), every step (Parquet), environments, the report with
    its figures, a README and checksums. SWEEP is a sweep's name, or six or more of its digits.
    """
    from sweeps.archive.writer import export

    click.echo(export(compose_launch(overrides), sweep, target))


@cli.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def import_(file: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Import an exported sweep into this output root and its MLflow.

    Checksums and hashes are checked; an invalid file is refused and nothing is written.
    Trials that are here already stay as they are. Exit 1 if one has other results here, 3 if
    MLflow has not received all results yet. OVERRIDES: paths.output, tracking.
    """
    from sweeps.archive.importing import import_archive

    report = import_archive(file, compose_launch(overrides))
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        click.echo(
            f"Sweep {report.sweep} of study {report.study}: {len(report.new)} trials imported, "
            f"{len(report.present)} were here, {len(report.conflicts)} have other results here"
        )
        for digest, difference in report.conflicts.items():
            click.echo(f"  {digest[:12]} was left as it is; the file's is {difference}")
    if report.why:
        text = f"{report.unsent} results wait for MLflow ({report.why}): `sweeps sync` sends them"
        click.echo(text, err=True)
    if report.conflicts:
        sys.exit(FAILED)
    if report.why:
        sys.exit(PENDING)


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
def cite(sweep: str, overrides: tuple[str, ...]) -> None:
    """Print the text on a sweep for a paper's supplement.

    Versions, commit, hardware, the command, and BibTeX entries of the theory. SWEEP is a
    sweep's name, or six or more of its digits.
    """
    from sweeps.inspect import citation

    click.echo(citation.of_sweep(compose_launch(overrides), sweep), nl=False)
