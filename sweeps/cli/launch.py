"""Commands that launch, stop and send sweeps: run, resume, stop, sync."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from sweeps.cli.complete_ids import complete_sweep
from sweeps.cli.exit_codes import PENDING
from sweeps.cli.group import (
    MULTIRUN,
    cli,
    compose,
    compose_launch,
    config_dir,
    exit_with,
    is_override,
    warn_hidden,
    with_config_dir,
    with_overrides,
)
from sweeps.cli.plan import show_plan

if TYPE_CHECKING:
    from sweeps.config.launch import LaunchConfig
    from sweeps.driver.launch_result import Finished
    from sweeps.driver.terminal import Terminal


@cli.command()
@with_overrides
@MULTIRUN
@click.option("--dry-run", "only_plan", is_flag=True, help="Print the plan and start nothing.")
@click.option(
    "--why", is_flag=True, help="With --dry-run: name the nearest finished trial of each new one."
)
@click.option("--retry-failed", is_flag=True, help="Retry trials that failed before.")
@click.option(
    "--force",
    is_flag=True,
    help="Train finished trials again. Each keeps its earlier result until it has a new one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan or the result as JSON.")
def run(
    overrides: tuple[str, ...],
    only_plan: bool,
    why: bool,
    retry_failed: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train all trials of a sweep that are not finished.

    OVERRIDES have Hydra's syntax: `model.width=256,512` is an axis, `experiment=NAME` brings
    its own axes, `seed=range(0,5)` needs quotes in a shell.

    `search=random` and `search=optuna` draw from `train.eta=interval(0.1,2)` and
    `model.activation=choice(relu,tanh)`; `search=frontier` bisects an interval for the point
    where `search.condition` ceases to hold. `early_stopping=asha` stops trials that do worse
    than others.

    Exit codes: 0 complete, 1 a trial failed, the disk is full or the Ray cluster is lost, 2 the
    command is wrong and nothing was started, 3 every trial has a result but MLflow has not
    received all of them (`sweeps sync` sends the rest), 130 interrupted, or stopped by `sweeps
    stop`, the sweep or some of its trials.
    """
    if why and not only_plan:
        raise click.UsageError("--why explains a plan: give --dry-run too")
    from sweeps.driver.terminal import Terminal

    output = Terminal(stderr=as_json)
    with output.waiting("composing"):
        request = compose(overrides)
    warn_hidden(request)
    if only_plan:
        from sweeps.driver.first_plan import dry_plan

        plan = dry_plan(request, force=force, retry_failed=retry_failed)
        show_plan(plan, as_json, request.launch.paths.output if why else "")
        return
    with output.waiting("loading the engine"):
        from sweeps.driver.run import launch
    finished = launch(request, overrides, output, force=force, retry_failed=retry_failed)
    _show(finished, request.launch, output, as_json)


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
@click.option("--retry-failed", is_flag=True, help="Retry trials that failed before.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def resume(sweep: str, overrides: tuple[str, ...], retry_failed: bool, as_json: bool) -> None:
    """Launch a recorded sweep again.

    SWEEP is the name that `sweeps run` printed, or six or more of its digits. OVERRIDES may
    change cluster, tracking, pack, checkpoint, record and paths, and say where a data file that
    was moved lies now: `data.path=FILE`. Trials continue from their checkpoints. Exit codes are
    those of `sweeps run`.
    """
    from sweeps.driver.terminal import Terminal

    output = Terminal(stderr=as_json)
    with output.waiting("reading the record"):
        from sweeps.driver import run as runner
        from sweeps.driver.launch_result import Options
        from sweeps.driver.resume import stored_sweep

        stored = stored_sweep(sweep, overrides, config_dir())
    options = Options(stored.command, stored.sources, retry_failed=retry_failed)
    finished = runner.run(stored.launch, stored.trials, options, output)
    _show(finished, stored.launch, output, as_json)


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@click.argument("arguments", nargs=-1, metavar="[HASH]... [OVERRIDES]...")
@with_config_dir
def stop(sweep: str, arguments: tuple[str, ...]) -> None:
    """Stop a running sweep, or some of its trials.

    It can be called in another terminal, or on another machine that shares the output root.
    SWEEP is the name that `sweeps run` printed, and HASH is the hash of a trial; six or more
    digits of each are enough. Without HASH the whole sweep stops.

    A trial writes a checkpoint before it stops. The `sweeps run` command of the sweep, typed
    again, or `sweeps resume SWEEP` continues from there.

    The stopped `sweeps run` exits with code 130, or with 1 if a trial failed. In MLflow the
    sweep's run is KILLED, and its tag `sweeps.stopped_by` says who stopped it.
    """
    from sweeps.driver.stopping import request_stop

    config = compose_launch(list(filter(is_override, arguments)))
    hashes = [word for word in arguments if not is_override(word)]
    for text in request_stop(config, sweep, hashes):
        click.echo(text)


@cli.command()
@with_overrides
def sync(overrides: tuple[str, ...]) -> None:
    """Send results to MLflow that it lacks.

    Results that it has not received yet, and runs, pages and artifacts that were deleted or
    changed by hand. Nothing is trained. Exit 3 if MLflow still lacks some.
    """
    from sweeps.driver.sync import sync

    done = sync(compose_launch(overrides))
    for study, count in done.sent.items():
        click.echo(f"sent: {count} trial{'s' * (count != 1)} of study {study}")
    for study, missing in done.resent.items():
        click.echo(f"sent again: {missing} of study {study}")
    for study, left in done.pending.items():
        click.echo(f"not in MLflow yet, of study {study}: {left}", err=True)
    if done.pending:
        sys.exit(PENDING)
    if not done.sent and not done.resent:
        click.echo("nothing is missing")


def _show(
    finished: "Finished",
    launch: "LaunchConfig",
    output: "Terminal",
    as_json: bool,
) -> None:
    """Print the results of a sweep, and exit with its code."""
    from sweeps.planning import outcomes
    from sweeps.search.registry import summarize

    output.table(*outcomes.table(finished.lines), rest="trials.csv beside the report has all")
    search_results = summarize(launch.search, finished.lines)
    if search_results:
        output.say(f"{search_results.title}:")
        output.table(search_results.header, search_results.rows)
        for remark in search_results.remarks:
            output.say(f"{remark}.")
    for outcome in finished.lines:
        if outcome.error:
            failed = "" if outcome.status == outcomes.STOPPED_BY_PERSON else "failed: "
            output.say(f"{outcome.planned.name} {failed}{outcome.error}")
    for text in _locations(finished, launch):
        output.say(text)
    if as_json:
        rows = search_results.plain if search_results else []
        click.echo(json.dumps(_to_plain(finished) | {"found": rows}, indent=2))
    if finished.stopped and not finished.failed:
        output.say("The same command continues the stopped trials.")
    exit_with(finished)


def _to_plain(finished: "Finished") -> dict[str, Any]:
    """The results as JSON data."""
    trials = [
        {
            "config_hash": outcome.planned.config_hash,
            "trial": outcome.planned.name,
            "status": outcome.status,
            "reused": outcome.reused,
            "error": outcome.error,
            "metrics": outcome.summary,
        }
        for outcome in finished.lines
    ]
    return {"sweep": finished.plan.sweep, "links": finished.links, "trials": trials}


def _locations(finished: "Finished", launch: "LaunchConfig") -> list[str]:
    """Lines that name the place of the record and its links."""
    from sweeps.driver.launch_result import ui_command

    output = launch.paths.output
    lines = []
    if command := ui_command(launch.tracking, output):
        lines.append(f"Recorded in {output}/mlflow. To browse: {command}, then open")
    else:
        lines.append("Recorded in MLflow:")
    lines.append(f"  {finished.links['trials']}  (the trials)")
    lines.append(f"  {finished.links['sweep']}  (the sweep)")
    if finished.waits:
        lines.append(f"Not in MLflow yet: {finished.waits}. `sweeps sync` sends the rest.")
    return lines
