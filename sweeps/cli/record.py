"""Commands that show records and the environment: status, doctor, report, ui."""

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

import click

from sweeps.cli.complete_ids import complete_sweep
from sweeps.cli.exit_codes import FAILED
from sweeps.cli.group import (
    cli,
    compose,
    compose_launch,
    config_dir,
    is_override,
    with_config_dir,
    with_overrides,
)

# Seconds between two updates of `status --watch`.
EVERY = 2.0


class Seconds(click.FloatRange):
    """Range of seconds that refuses NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail for NaN, which click's own comparison lets pass."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return number


@cli.command()
@click.argument(
    "overrides", nargs=-1, metavar="[SWEEP] [OVERRIDES]...", shell_complete=complete_sweep
)
@with_config_dir
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--watch", is_flag=True, help="Update until the sweep ends, or Ctrl-C.")
@click.option(
    "--every",
    type=Seconds(min=0.1, max=86_400),
    help="With --watch: seconds between two updates; 2 by default.",
)
def status(overrides: tuple[str, ...], as_json: bool, watch: bool, every: float | None) -> None:
    """Show the state of sweeps: `sweeps status [SWEEP]`.

    SWEEP is a name, or six or more of its digits. Without it all sweeps of the output root
    are shown, with --watch the latest. It works on any machine that shares the output root.
    """
    from sweeps.driver.expired_runs import close_expired_on_server
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect import status as sweep_status

    if watch and as_json:
        raise click.UsageError("--watch is for a terminal: use it without --json")
    if every is not None and not watch:
        raise click.UsageError("--every is for --watch: give both")
    names = [word for word in overrides if not is_override(word)]
    if len(names) > 1:
        raise click.UsageError(f"give one sweep, not {' and '.join(names)}")
    config = compose_launch(list(filter(is_override, overrides)))
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            sweep_status.watch(config, "".join(names), every or EVERY, Terminal())
        return
    for text in close_expired_on_server(config):
        click.echo(text, err=True)
    sweeps = sweep_status.statuses(config, *names)
    if as_json:
        click.echo(sweep_status.to_json(sweeps))
    else:
        sweep_status.show(sweeps, Terminal())


@cli.command()
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def doctor(overrides: tuple[str, ...], as_json: bool) -> None:
    """Check the environment of a sweep; exit 1 if a check fails.

    Versions, GPU, disk and the output root; with `cluster=ray` and `tracking=server` also
    those servers. Nothing is started.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.doctor import run_checks, to_json

    results = run_checks(compose(overrides).launch, config_dir())
    if as_json:
        click.echo(to_json(results))
    else:
        rows = [[check.name, "ok" if check.ok else "NO", check.found] for check in results]
        Terminal().table(["check", "", "result"], rows, left=3)
    if not all(check.ok for check in results):
        sys.exit(FAILED)


@cli.command(name="report")
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
def report_(sweep: str, overrides: tuple[str, ...]) -> None:
    """Write a sweep's report again.

    The HTML page, its figures, and the page in MLflow. SWEEP is the name that `sweeps run`
    printed, or six or more of its digits.
    """
    from sweeps.driver.sync import rewrite_report

    click.echo(rewrite_report(compose_launch(overrides), sweep))


@cli.command()
@with_overrides
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="Port on localhost.",
)
def ui(overrides: tuple[str, ...], port: int) -> None:
    """Serve the MLflow UI of the embedded store."""
    from sweeps.tracking import store

    output = Path(compose_launch(overrides).paths.output)
    store.check_servable(output, port)
    click.echo(f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning")
    sys.exit(store.serve(output, port))
