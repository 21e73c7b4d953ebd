"""The command line: `sweeps COMMAND [hydra overrides]`."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from sweeps import __version__
from sweeps.config import Request, request, trial_to_yaml
from sweeps.errors import SweepsError
from sweeps.identity import config_hash
from sweeps.plan import Plan

if TYPE_CHECKING:
    from sweeps.run import Finished

OVERRIDES = click.argument("overrides", nargs=-1)
MULTIRUN = click.option("-m", "--multirun", is_flag=True, help="Accepted, as Hydra users type it.")


def main() -> None:
    """Run the command line; exit 0, 1 (a trial failed), 2 (wrong command), 130 (interrupted)."""
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
@click.option("--force", is_flag=True, help="Train again what is finished.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan or the result as JSON.")
def run(
    overrides: tuple[str, ...], multirun: bool, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Make a sweep complete: train every trial of it that is not finished.

    OVERRIDES are Hydra's: `model.width=256,512` is an axis, `experiment=NAME` brings axes
    of its own, `seed=range(0,5)` needs quotes in a shell.
    """
    del multirun  # every command here may sweep
    asked = request(overrides)
    console = Console(stderr=as_json, width=None if sys.stdout.isatty() else 140)
    from sweeps import report  # slow to import: not for --help
    from sweeps import run as runner

    if dry_run:
        _show_plan(runner.dry_plan(asked), as_json)
        return
    command = shlex.join(["sweeps", "run", *overrides])
    finished = runner.run(asked, runner.Options(command=command, force=force), console)
    report.show(finished.lines, console)
    _where(finished, asked, console)
    if as_json:
        rows = [
            {"config_hash": line.planned.config_hash, "trial": line.planned.name}
            | {"status": line.status, "metrics": line.record.summary if line.record else {}}
            for line in finished.lines
        ]
        click.echo(json.dumps({"sweep": finished.plan.sweep, "trials": rows}, indent=2))
    if finished.failed:
        sys.exit(1)


def _where(finished: "Finished", asked: Request, console: Console) -> None:
    output = asked.launch.paths.output
    lines = []
    if asked.launch.tracking.name == "local":
        flag = "" if output == "outputs" else f" paths.output={shlex.quote(output)}"
        lines += [f"Recorded in {output}/mlflow. To browse: sweeps ui{flag}, then open"]
    else:
        lines += ["Recorded in MLflow:"]
    lines += [f"  {finished.links['run']}"]
    if finished.unsent:
        lines += [f"{finished.unsent} results wait to be sent: give the command again."]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        trials = [
            {"config_hash": t.config_hash, "trial": t.name, "finished": t.finished}
            for t in plan.trials
        ]
        packs = [[t.config_hash for t in pack] for pack in plan.packs]
        click.echo(json.dumps({"sweep": plan.sweep, "trials": trials, "packs": packs}, indent=2))
        return
    for trial in plan.trials:
        state = "finished" if trial.finished else "to train"
        click.echo(f"{trial.config_hash[:12]}  {state}  {trial.name}")
    left = len(plan.trials) - plan.reused
    click.echo(
        f"sweep {plan.sweep}: {len(plan.trials)} trials, {plan.reused} finished, "
        f"{left} to train in {len(plan.packs)} packs"
    )


@cli.command()
@OVERRIDES
@MULTIRUN
@click.option("--hash", "hashes", is_flag=True, help="Print the config hash of each trial.")
def show(overrides: tuple[str, ...], multirun: bool, hashes: bool) -> None:
    """Print the composed, checked config of each trial."""
    del multirun
    for i, composed in enumerate(request(overrides).trials):
        if hashes:
            click.echo(config_hash(composed.trial))
            continue
        if i:
            click.echo("---")
        click.echo(trial_to_yaml(composed.trial), nl=False)


@cli.command()
@OVERRIDES
@MULTIRUN
@click.option("--loss", default=1e-6, show_default=True, help="Count steps to this relative loss.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def theory(overrides: tuple[str, ...], multirun: bool, loss: float, as_json: bool) -> None:
    """Say what the theory says of each trial, without training.

    The conditions' slacks, the predicted rates, the steps to a given loss and the cost:
    from the initial network and its equilibrium at step 0. Nothing is written.
    """
    del multirun
    from sweeps import theory as teller

    said = list(teller.say(request(overrides), loss))
    if as_json:
        click.echo(teller.to_json(said, loss))
    else:
        console = Console(width=None if sys.stdout.isatty() else 140)
        teller.show(said, loss, console)


@cli.command()
@OVERRIDES
@click.option("--port", default=5000, show_default=True, help="Port on loopback.")
def ui(overrides: tuple[str, ...], port: int) -> None:
    """Serve the MLflow UI on the embedded store, on loopback."""
    from sweeps import tracking

    output = Path(request(overrides).launch.paths.output)
    click.echo(f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning")
    sys.exit(tracking.serve(output, port))
