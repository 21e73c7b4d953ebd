"""Commands that look ahead and train nothing: show, theory; and how a plan is printed."""

import json
from typing import TYPE_CHECKING

import click

from sweeps.cli.group import MULTIRUN, OVERRIDES, cli, request

if TYPE_CHECKING:
    from sweeps.planning import Plan


@cli.command()
@OVERRIDES
@MULTIRUN
@click.option("--resolve", is_flag=True, help="Print each trial's resolved, checked config.")
@click.option("--hash", "hashes", is_flag=True, help="Print the config hash of each trial.")
def show(overrides: tuple[str, ...], multirun: bool, resolve: bool, hashes: bool) -> None:
    """Print the composed config, checked, axes as they stand."""
    del multirun
    from sweeps.composition import composed
    from sweeps.config import trial_to_yaml
    from sweeps.identity import config_hash

    trials = [point.trial for point in request(overrides).trials]
    if hashes:
        for trial in trials:
            click.echo(config_hash(trial))
    elif resolve:
        click.echo("---\n".join(trial_to_yaml(trial) for trial in trials), nl=False)
    else:
        click.echo(composed(overrides), nl=False)


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


def show_plan(plan: "Plan", as_json: bool) -> None:
    """Print what a command would do."""
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
