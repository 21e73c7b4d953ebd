"""The command line: `sweeps COMMAND [hydra overrides]`."""

import errno
import json
import logging
import shlex
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweeps import __version__, report
from sweeps.composition import composed
from sweeps.config import LaunchConfig, request, trial_to_yaml
from sweeps.errors import SweepsError
from sweeps.identity import config_hash
from sweeps.plain import without_password
from sweeps.planning import Plan, trials_of

if TYPE_CHECKING:
    from sweeps.run import Finished
    from sweeps.terminal import Terminal

OVERRIDES = click.argument("overrides", nargs=-1)
MULTIRUN = click.option("-m", "--multirun", is_flag=True, help="Accepted, as Hydra users type it.")


def main() -> None:
    """Run the command line; exit 0, 1 (a trial failed), 2 (wrong command), 130 (interrupted)."""
    # A scheduler's or a container's stop is an interruption like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.append(str(Path.cwd()))  # for a user's own activation beside the command
    logging.basicConfig(format="sweeps: %(message)s", level=logging.WARNING)
    logging.getLogger("deq").setLevel(logging.INFO)  # what takes long is said
    try:
        cli.main(standalone_mode=False)
    except SweepsError as error:
        _refuse(str(error))
    except click.ClickException as error:
        _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("sweeps: interrupted; the same command again goes on from here", err=True)
        sys.exit(130)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_disk(error):
            raise
        click.echo(
            f"sweeps: the disk of the output root does not take what is written ({error}): "
            "make room; the same command again goes on from here",
            err=True,
        )
        sys.exit(1)


def _is_disk(error: OSError | sqlite3.OperationalError) -> bool:
    """Whether it is for want of room or a failing disk, and not a mistake of this tool."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
    return "full" in str(error) or "disk I/O" in str(error)


def _refuse(text: str) -> None:
    click.echo(f"sweeps: {' '.join(text.split())}", err=True)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Sweep over how deep equilibrium models train, theory beside measurement."""


@cli.command()
@OVERRIDES
@MULTIRUN
@click.option("--dry-run", is_flag=True, help="Print the plan and start nothing.")
@click.option("--retry-failed", is_flag=True, help="Try again the trials that raised before.")
@click.option("--force", is_flag=True, help="Train again what is finished.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan or the result as JSON.")
def run(
    overrides: tuple[str, ...],
    multirun: bool,
    dry_run: bool,
    retry_failed: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train all trials of a sweep that are not finished.

    OVERRIDES are Hydra's: `model.width=256,512` is an axis, `experiment=NAME` brings axes
    of its own, `seed=range(0,5)` needs quotes in a shell.
    """
    del multirun  # every command here may sweep
    asked = request(overrides)
    from sweeps import run as runner  # slow to import: not for --help
    from sweeps.terminal import Terminal

    if dry_run:
        _show_plan(runner.dry_plan(asked, force=force, retry_failed=retry_failed), as_json)
        return
    terminal = Terminal(stderr=as_json)
    command = without_password(shlex.join(["sweeps", "run", *overrides]))
    options = runner.Options(command, force=force, retry_failed=retry_failed)
    finished = runner.run(asked.launch, trials_of(asked), options, terminal)
    _show(finished, asked.launch, terminal, as_json)


def _show(finished: "Finished", launch: LaunchConfig, terminal: "Terminal", as_json: bool) -> None:
    """Say how a sweep ended; exit 1 when a trial has no result."""
    terminal.table(*report.table(finished.lines))
    for line in finished.lines:
        if line.error:
            terminal.say(f"{line.planned.name} failed: {line.error}")
    for text in _where(finished, launch):
        terminal.say(text)
    if as_json:
        click.echo(json.dumps(_result(finished), indent=2))
    if finished.failed:
        sys.exit(1)


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


def _where(finished: "Finished", launch: LaunchConfig) -> list[str]:
    """Where the record is and how to open it."""
    output = launch.paths.output
    lines = []
    if launch.tracking.name == "local":
        flag = "" if output == "outputs" else f" paths.output={shlex.quote(output)}"
        lines.append(f"Recorded in {output}/mlflow. To browse: sweeps ui{flag}, then open")
    else:
        lines.append("Recorded in MLflow:")
    lines.append(f"  {finished.links['trials']}  (the trials)")
    lines.append(f"  {finished.links['sweep']}  (the sweep)")
    if finished.unsent:
        lines.append(f"{finished.unsent} results wait for MLflow: `sweeps sync` sends them.")
    return lines


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        trials = [
            {
                "config_hash": trial.config_hash,
                "trial": trial.name,
                "finished": trial.config_hash in plan.finished,
                "state": plan.state(trial),
            }
            for trial in plan.trials
        ]
        packs = [[trial.config_hash for trial in pack] for pack in plan.packs]
        click.echo(json.dumps({"sweep": plan.sweep, "trials": trials, "packs": packs}, indent=2))
        return
    for trial in plan.trials:
        click.echo(f"{trial.config_hash[:12]}  {plan.state(trial):13} {trial.name}")
    for pack in plan.packs:
        if len(pack) > 1:
            click.echo(f"pack of {len(pack)}: {', '.join(trial.name for trial in pack)}")
    click.echo(
        f"sweep {plan.sweep}: {len(plan.trials)} trials, {len(plan.finished)} finished, "
        f"{len(plan.failed)} failed before, {plan.left} to train in {len(plan.packs)} packs"
    )


@cli.command()
@OVERRIDES
@MULTIRUN
@click.option("--resolve", is_flag=True, help="Print each trial's resolved, checked config.")
@click.option("--hash", "hashes", is_flag=True, help="Print the config hash of each trial.")
def show(overrides: tuple[str, ...], multirun: bool, resolve: bool, hashes: bool) -> None:
    """Print the composed config, checked, axes as they stand."""
    del multirun
    trials = [point.trial for point in request(overrides).trials]
    if hashes:
        for trial in trials:
            click.echo(config_hash(trial))
    elif resolve:
        click.echo("---\n".join(trial_to_yaml(trial) for trial in trials), nl=False)
    else:
        click.echo(composed(overrides), nl=False)


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


@cli.command()
@click.argument("sweep")
@OVERRIDES
@click.option("--retry-failed", is_flag=True, help="Try again the trials that raised before.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def resume(sweep: str, overrides: tuple[str, ...], retry_failed: bool, as_json: bool) -> None:
    """Launch a sweep again, as it was.

    SWEEP is the name that `sweeps run` printed, or six or more digits of it. It is launched
    as it was; OVERRIDES may change cluster, tracking, pack and paths.
    """
    from sweeps import run as runner
    from sweeps.resume import stored
    from sweeps.terminal import Terminal

    found = stored(sweep, overrides)
    terminal = Terminal(stderr=as_json)
    options = runner.Options(found.command, retry_failed=retry_failed)
    finished = runner.run(found.launch, found.trials, options, terminal)
    _show(finished, found.launch, terminal, as_json)


@cli.command()
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(overrides: tuple[str, ...], as_json: bool) -> None:
    """Say how sweeps stand: `sweeps status [SWEEP]`.

    Without SWEEP (a name, or six or more digits of one) all of the output root's.
    """
    from sweeps import status as teller
    from sweeps.terminal import Terminal

    named = [word for word in overrides if "=" not in word]
    if len(named) > 1:
        raise click.UsageError(f"one sweep at a time, not {' and '.join(named)}")
    config = request([word for word in overrides if "=" in word]).launch
    found = teller.statuses(config, *named)
    if as_json:
        click.echo(teller.to_json(found))
    else:
        teller.show(found, Terminal())


@cli.command()
@OVERRIDES
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def doctor(overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a sweep would find; exit 1 if something will not do.

    Versions, GPU, disk, the output root.

    With `cluster=ray` and `tracking=server` also whether those answer. Nothing is started.
    """
    from sweeps import doctor as examiner
    from sweeps.terminal import Terminal

    checks = examiner.examine(request(overrides).launch)
    if as_json:
        click.echo(examiner.to_json(checks))
    else:
        rows = [[check.name, "ok" if check.ok else "NO", check.found] for check in checks]
        Terminal().table(["what", "", "found"], rows, left=3)
    if not all(check.ok for check in checks):
        sys.exit(1)


@cli.command(name="report")
@click.argument("sweep")
@OVERRIDES
def report_(sweep: str, overrides: tuple[str, ...]) -> None:
    """Write a sweep's report anew.

    One HTML page, its figures, and its page in MLflow.

    SWEEP is the name that `sweeps run` printed, or six or more digits of it.
    """
    from sweeps import run as runner

    click.echo(runner.rewrite_report(request(overrides).launch, sweep))


@cli.command()
@OVERRIDES
def sync(overrides: tuple[str, ...]) -> None:
    """Send MLflow the results it was away for."""
    from sweeps import run as runner

    asked = request(overrides)
    unsent = runner.sync(asked.launch)
    if unsent:
        click.echo(f"{unsent} results could not be sent", err=True)
        sys.exit(1)
    click.echo("nothing is owed")


@cli.command()
@OVERRIDES
@MULTIRUN
@click.option("--loss", default=1e-6, show_default=True, help="Count steps to this relative loss.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def theory(overrides: tuple[str, ...], multirun: bool, loss: float, as_json: bool) -> None:
    """Say what the theory says, without training.

    The conditions' slacks, the predicted rates, the steps to a given loss and the cost:
    from the initial network and its equilibrium at step 0. Nothing is written.
    """
    del multirun
    from sweeps import theory as teller
    from sweeps.terminal import Terminal

    said = list(teller.say(request(overrides), loss))
    if as_json:
        click.echo(teller.to_json(said, loss))
    else:
        teller.show(said, loss, Terminal())


@cli.command()
@OVERRIDES
@click.option("--port", default=5000, show_default=True, help="Port on loopback.")
def ui(overrides: tuple[str, ...], port: int) -> None:
    """Serve the MLflow UI of the embedded store."""
    from sweeps import store

    output = Path(request(overrides).launch.paths.output)
    click.echo(f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning")
    sys.exit(store.serve(output, port))
