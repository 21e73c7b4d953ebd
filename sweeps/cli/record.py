"""Commands that look at what is recorded, and at what is there: status, report, ui, doctor."""

import contextlib
import sys
from pathlib import Path

import click

from sweeps.cli.complete_ids import complete_sweep
from sweeps.cli.group import cli, config_dir, request, with_config_dir, with_overrides


@cli.command()
@click.argument(
    "overrides", nargs=-1, metavar="[SWEEP] [OVERRIDES]...", shell_complete=complete_sweep
)
@with_config_dir
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--watch", is_flag=True, help="Show it anew until the sweep ends, or Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="With --watch: seconds from one look to the next.",
)
def status(overrides: tuple[str, ...], as_json: bool, watch: bool, every: float) -> None:
    """Say how sweeps stand: `sweeps status [SWEEP]`.

    Without SWEEP (a name, or six or more digits of one) all of the output root's; with
    --watch the latest. Works on any machine that shares the output root.
    """
    if watch and as_json:
        raise click.UsageError("--watch draws for a person: give it without --json")
    from sweeps.driver.expired_runs import close_expired_on_server
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect import status as teller

    named = [word for word in overrides if "=" not in word]
    if len(named) > 1:
        raise click.UsageError(f"one sweep at a time, not {' and '.join(named)}")
    config = request([word for word in overrides if "=" in word]).launch
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            teller.watch(config, "".join(named), every, Terminal())
        return
    for text in close_expired_on_server(config):
        click.echo(text, err=True)
    found = teller.statuses(config, *named)
    if as_json:
        click.echo(teller.to_json(found))
    else:
        teller.show(found, Terminal())


@cli.command()
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def doctor(overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a sweep would find; exit 1 if something will not do.

    Versions, GPU, disk, the output root.

    With `cluster=ray` and `tracking=server` also whether those answer. Nothing is started.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect import doctor as examiner

    checks = examiner.examine(request(overrides).launch, config_dir())
    if as_json:
        click.echo(examiner.to_json(checks))
    else:
        rows = [[check.name, "ok" if check.ok else "NO", check.found] for check in checks]
        Terminal().table(["what", "", "found"], rows, left=3)
    if not all(check.ok for check in checks):
        sys.exit(1)


@cli.command(name="report")
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
def report_(sweep: str, overrides: tuple[str, ...]) -> None:
    """Write a sweep's report anew.

    One HTML page, its figures, and its page in MLflow.

    SWEEP is the name that `sweeps run` printed, or six or more digits of it.
    """
    from sweeps.driver.sync import rewrite_report

    click.echo(rewrite_report(request(overrides).launch, sweep))


@cli.command()
@with_overrides
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="Port on loopback.",
)
def ui(overrides: tuple[str, ...], port: int) -> None:
    """Serve the MLflow UI of the embedded store."""
    from sweeps.tracking import store

    output = Path(request(overrides).launch.paths.output)
    store.check_servable(output, port)
    click.echo(f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning")
    sys.exit(store.serve(output, port))
