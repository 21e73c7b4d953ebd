"""Commands that compare finished trials: reproduce, diff."""

import json
import sys
from pathlib import Path

import click

from sweeps.cli.group import OVERRIDES, cli, request


@cli.command()
@click.argument("config_hash")
@OVERRIDES
@click.option("--allow-drift", is_flag=True, help="Go on under other versions or hardware.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def reproduce(
    config_hash: str, overrides: tuple[str, ...], allow_drift: bool, as_json: bool
) -> None:
    """Train a finished trial again and compare.

    Every recorded step and summary metric is compared; exit 1 if one differs.

    CONFIG_HASH: six or more digits of the trial's hash. The verdict is a run of its own.
    """
    from sweeps import reproduce as again
    from sweeps.lookup import record_of
    from sweeps.tracking import Tracker

    launch = request(overrides).launch
    record = record_of(config_hash, launch)
    changed = again.drift(record)
    if not allow_drift:
        again.refuse_drift(record, changed)
    verdict = again.verdict(record, again.again(record))
    tracker = Tracker(launch.tracking, Path(launch.paths.output))
    run_id = tracker.reproduced(record, verdict.kind, str(verdict), verdict.deviation)
    if as_json:
        said = {"verdict": verdict.kind, "deviation": verdict.deviation, "where": verdict.where}
        said |= {"step": verdict.step, "drift": sorted(changed), "run_id": run_id}
        click.echo(json.dumps({"config_hash": record.config_hash} | said, indent=2))
    else:
        click.echo(f"{record.config_hash[:12]}: {verdict}")
    if verdict.kind == again.DIFFERENT:
        sys.exit(1)


@cli.command()
@click.argument("first")
@click.argument("second")
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print all that differs as JSON.")
def diff(first: str, second: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show where two finished trials differ: config keys and results.

    FIRST, SECOND: six or more digits of their hashes.
    """
    from sweeps import difference
    from sweeps.lookup import record_of
    from sweeps.terminal import Terminal

    launch = request(overrides).launch
    a, b = record_of(first, launch), record_of(second, launch)
    found = difference.difference(a, b)
    if as_json:
        click.echo(json.dumps({"keys": found.keys, "results": found.results}, indent=2))
    else:
        Terminal().table(*difference.table(found, a, b), left=1)
