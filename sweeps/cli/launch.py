"""Commands that train: run, resume; and sync, which sends what they left."""

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from sweeps.cli.complete_ids import complete_sweep
from sweeps.cli.group import (
    INTERRUPTED,
    MULTIRUN,
    UNSENT,
    cli,
    config_dir,
    request,
    say_hidden,
    with_config_dir,
    with_overrides,
)
from sweeps.cli.plan import show_plan

if TYPE_CHECKING:
    from sweeps.config.request import LaunchConfig
    from sweeps.driver.driver import Finished
    from sweeps.driver.terminal import Terminal


@cli.command()
@with_overrides
@MULTIRUN
@click.option("--dry-run", is_flag=True, help="Print the plan and start nothing.")
@click.option("--why", is_flag=True, help="With --dry-run: what makes each new trial new.")
@click.option("--retry-failed", is_flag=True, help="Try again the trials that raised before.")
@click.option("--force", is_flag=True, help="Train again what is finished.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan or the result as JSON.")
def run(
    overrides: tuple[str, ...],
    multirun: bool,
    dry_run: bool,
    why: bool,
    retry_failed: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train all trials of a sweep that are not finished.

    OVERRIDES are Hydra's: `model.width=256,512` is an axis, `experiment=NAME` brings axes
    of its own, `seed=range(0,5)` needs quotes in a shell.

    `search=random` and `search=optuna` draw from `train.eta=interval(0.1,2)` and
    `model.activation=choice(relu,tanh)`; `search=frontier` bisects an interval for where
    `search.condition` ends to hold. `early_stopping=asha` ends what does worse than others.

    Exit codes: 0 complete, 1 a trial failed or the disk is full, 2 the command is wrong and
    nothing was started, 3 every trial has a result but MLflow has not taken all of it
    (`sweeps sync` sends the rest), 130 interrupted, or stopped in part by `sweeps stop`.
    """
    del multirun  # every command here may sweep
    if why and not dry_run:
        raise click.UsageError("--why explains a plan: give --dry-run too")
    from sweeps.driver.terminal import Terminal

    terminal = Terminal(stderr=as_json)
    with terminal.waiting("composing"):
        asked = request(overrides)
    say_hidden(asked)
    if dry_run:
        from sweeps.driver.dry_run import dry_plan

        planned = dry_plan(asked, force=force, retry_failed=retry_failed)
        show_plan(planned, as_json, asked.launch.paths.output if why else "")
        return
    with terminal.waiting("loading the engine"):
        from sweeps.driver import run as runner

    finished = runner.launch(asked, overrides, terminal, force=force, retry_failed=retry_failed)
    _show(finished, asked.launch, terminal, as_json)


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@with_overrides
@click.option("--retry-failed", is_flag=True, help="Try again the trials that raised before.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def resume(sweep: str, overrides: tuple[str, ...], retry_failed: bool, as_json: bool) -> None:
    """Launch a sweep again, as it was.

    SWEEP is the name that `sweeps run` printed, or six or more digits of it. OVERRIDES may
    change cluster, tracking, pack, checkpoint, record and paths. Trials go on from
    checkpoints. Exit codes are those of `sweeps run`.
    """
    from sweeps.driver.terminal import Terminal

    terminal = Terminal(stderr=as_json)
    with terminal.waiting("reading the record"):
        from sweeps.driver import run as runner
        from sweeps.driver.driver import Options
        from sweeps.driver.resume import stored

        found = stored(sweep, overrides, config_dir())
    options = Options(found.command, found.sources, retry_failed=retry_failed)
    finished = runner.run(found.launch, found.trials, options, terminal)
    _show(finished, found.launch, terminal, as_json)


@cli.command()
@click.argument("sweep", shell_complete=complete_sweep)
@click.argument("words", nargs=-1, metavar="[HASH]... [OVERRIDES]...")
@with_config_dir
def stop(sweep: str, words: tuple[str, ...]) -> None:
    """End a running sweep, or some of its trials, from another terminal or machine.

    SWEEP is the name that `sweeps run` printed, HASH a trial's, each six or more digits of
    it. What ends writes a checkpoint first. The same command, or `sweeps resume`, goes on
    from there.

    A sweep that was stopped, or lacks a result for a trial that was, ends with exit code 130
    unless a trial failed; its MLflow run is KILLED, with the tag `sweeps.stopped_by`.
    """
    from sweeps.driver import stopping

    config = request([word for word in words if "=" in word]).launch
    for text in stopping.stop(config, sweep, [word for word in words if "=" not in word]):
        click.echo(text)


@cli.command()
@with_overrides
def sync(overrides: tuple[str, ...]) -> None:
    """Send MLflow what it lacks of the record.

    Results it was away for; and runs, pages and artifacts that it lost or that were changed
    by hand. Nothing is trained. Exit 3 when MLflow did not take all.
    """
    from sweeps.driver import sync

    done = sync.sync(request(overrides).launch)
    for study, count in done.sent.items():
        click.echo(f"sent: {count} trial{'s' * (count != 1)} of study {study}")
    for study, missing in done.again.items():
        click.echo(f"sent again: {missing} of study {study}")
    for study, left in done.unsent.items():
        click.echo(f"not in MLflow yet, of study {study}: {left}", err=True)
    if done.unsent:
        sys.exit(UNSENT)
    if not done.sent and not done.again:
        click.echo("nothing is missing")


def _show(
    finished: "Finished", launch: "LaunchConfig", terminal: "Terminal", as_json: bool
) -> None:
    """Say how a sweep ended.

    Exit 1 when a trial failed, 130 when a person stopped one, 3 when MLflow lacks results.
    """
    from sweeps.planning import outcomes
    from sweeps.search.summary import summarize

    terminal.table(*outcomes.table(finished.lines), rest="trials.csv beside the report has all")
    found = summarize(launch.search, finished.lines)
    if found:
        terminal.say(f"{found.title}:")
        terminal.table(found.header, found.rows)
    for line in finished.lines:
        if line.error:
            failed = "" if line.status == outcomes.STOPPED_BY_PERSON else "failed: "
            terminal.say(f"{line.planned.name} {failed}{line.error}")
    for text in _where(finished, launch):
        terminal.say(text)
    if as_json:
        click.echo(
            json.dumps(_result(finished) | {"found": found.plain if found else []}, indent=2)
        )
    if finished.failed:
        sys.exit(1)
    if finished.stopped:
        terminal.say("The same command goes on with what was stopped.")
        sys.exit(INTERRUPTED)
    if finished.waits:
        sys.exit(UNSENT)


def _result(finished: "Finished") -> dict[str, Any]:
    trials = [
        {
            "config_hash": line.planned.config_hash,
            "trial": line.planned.name,
            "status": line.status,
            "reused": line.reused,
            "error": line.error,
            "metrics": line.summary,
        }
        for line in finished.lines
    ]
    return {"sweep": finished.plan.sweep, "links": finished.links, "trials": trials}


def _where(finished: "Finished", launch: "LaunchConfig") -> list[str]:
    """Where the record is and how to open it."""
    output = launch.paths.output
    lines = []
    if launch.tracking.name == "local":
        # The variable takes every path as it is; `paths.output=` has Hydra's grammar.
        usual = output == "outputs" and not os.environ.get("SWEEPS_OUTPUT")
        root = "" if usual else f"SWEEPS_OUTPUT={shlex.quote(output)} "
        lines.append(f"Recorded in {output}/mlflow. To browse: {root}sweeps ui, then open")
    else:
        lines.append("Recorded in MLflow:")
    lines.append(f"  {finished.links['trials']}  (the trials)")
    lines.append(f"  {finished.links['sweep']}  (the sweep)")
    if finished.waits:
        lines.append(f"Not in MLflow yet: {finished.waits}. `sweeps sync` sends the rest.")
    return lines
