"""Commands for handing a sweep on: export, import, cite."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from sweeps.cli.complete_ids import complete_sweep
from sweeps.cli.group import UNSENT, cli, request, with_overrides


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
@click.option(
    "-o",
    "--file",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file; under the output root, in exports/, if none is named.",
)
def export(sweep: str, overrides: tuple[str, ...], target: Path | None) -> None:
    """Write a sweep into one file, readable without this tool.

    A zip: configs and metrics (JSON), every step (Parquet), environments, the report and its
    figures, a README, checksums. SWEEP is a sweep's name, or six or more digits of it.
    """
    from sweeps.archive import writer

    click.echo(writer.export(request(overrides).launch, sweep, target))


@cli.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as JSON.")
def import_(file: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Take an exported sweep into this output root and its MLflow.

    Hashes are computed anew; what does not hold together is refused and nothing written.
    Trials that are here stay as they are; exit 1 if one has other results here, 3 if
    MLflow did not take all. OVERRIDES: paths.output, tracking.
    """
    from sweeps.archive import importing

    done = importing.enter(file, request(overrides).launch)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
    else:
        click.echo(
            f"Sweep {done.sweep} of study {done.study}: {len(done.new)} trials entered, "
            f"{len(done.present)} were here, {len(done.conflicts)} have other results here"
        )
        for digest, how in done.conflicts.items():
            click.echo(f"  {digest[:12]} was left as it is; the file's is {how}")
    if done.why:
        text = f"{done.unsent} results wait for MLflow ({done.why}): `sweeps sync` sends them"
        click.echo(text, err=True)
    if done.conflicts:
        sys.exit(1)
    if done.why:
        sys.exit(UNSENT)


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
def cite(sweep: str, overrides: tuple[str, ...]) -> None:
    """Print what a paper's supplement says of a sweep.

    Versions, commit, hardware, the command; BibTeX of the theory it measures against.
    SWEEP is a sweep's name, or six or more digits of it.
    """
    from sweeps.inspect import citation

    click.echo(citation.of_sweep(request(overrides).launch, sweep), nl=False)
