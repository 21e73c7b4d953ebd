"""Commands that look ahead and train nothing: show, theory; and how a plan is printed."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweeps.cli.group import MULTIRUN, cli, config_dir, request, say_hidden, with_overrides
from sweeps.config.nested import count_noun

if TYPE_CHECKING:
    from sweeps.inspect.nearest import Nearest
    from sweeps.planning.plan import Plan

    # Of a new trial, by its config hash.
    Why = dict[str, Nearest | None]


@cli.command()
@with_overrides
@MULTIRUN
@click.option("--resolve", is_flag=True, help="Print each trial's resolved, checked config.")
@click.option("--hash", "hashes", is_flag=True, help="Print the config hash of each trial.")
def show(overrides: tuple[str, ...], multirun: bool, resolve: bool, hashes: bool) -> None:
    """Print the composed config, checked, axes as they stand.

    Above it, as comments, the config files of your own that it is composed from.
    """
    del multirun
    from sweeps.config.config_files import user_folders
    from sweeps.config.hashing import config_hash
    from sweeps.config.hydra import composed_yaml
    from sweeps.config.request import listed_trials, trial_to_yaml

    asked = request(overrides)
    say_hidden(asked)
    if hashes:
        for point in listed_trials(asked):
            click.echo(config_hash(point.trial))
    elif resolve:
        trials = [point.trial for point in listed_trials(asked)]
        click.echo("---\n".join(trial_to_yaml(trial) for trial in trials), nl=False)
    else:
        for file in asked.files:
            click.echo(f"# {file.name}: {file.path}")
        click.echo(composed_yaml(overrides, user_folders(config_dir())), nl=False)


@cli.command()
@with_overrides
@MULTIRUN
@click.option("--loss", default=1e-6, show_default=True, help="Count steps to this relative loss.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def theory(overrides: tuple[str, ...], multirun: bool, loss: float, as_json: bool) -> None:
    """Say what the theory says, without training.

    The conditions' slacks, the predicted rates, the steps to a given loss and the cost:
    from the initial network and its equilibrium at step 0. Nothing is written.
    """
    del multirun
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect import forecast as teller

    asked = request(overrides)
    say_hidden(asked)
    said = list(teller.say(asked, loss))
    if as_json:
        click.echo(teller.to_json(said, loss))
    else:
        teller.show(said, loss, Terminal())


def show_plan(plan: "Plan", as_json: bool, output: str) -> None:
    """Print what a command would do; with an output root, beside which finished trials."""
    from sweeps.inspect.nearest import novelties

    why = novelties(plan, Path(output)) if output else {}
    if as_json:
        click.echo(json.dumps(_plain(plan, why), indent=2))
        return
    for line in _lines(plan, why):
        click.echo(line)


def _plain(plan: "Plan", why: "Why") -> dict[str, Any]:
    trials: list[dict[str, Any]] = []
    for trial in plan.trials:
        row = {
            "config_hash": trial.config_hash,
            "trial": trial.name,
            "finished": trial.config_hash in plan.finished,
            "state": plan.state(trial),
        }
        if trial.config_hash in why:
            nearest = why[trial.config_hash]
            row["nearest"] = asdict(nearest) if nearest else None
        trials.append(row)
    packs = [[trial.config_hash for trial in pack] for pack in plan.packs]
    return {"sweep": plan.sweep, "more": plan.more, "trials": trials, "packs": packs}


def _lines(plan: "Plan", why: "Why") -> Iterator[str]:
    for trial in plan.trials:
        yield f"{trial.config_hash[:12]}  {plan.state(trial):13} {trial.name}"
        if trial.config_hash in why:
            yield f"{'':14}{why[trial.config_hash] or 'no trial is finished yet'}"
    for pack in plan.packs:
        if len(pack) > 1:
            yield f"pack of {len(pack)}: {', '.join(trial.name for trial in pack)}"
    more = f", at most {plan.more} more by what they say" if plan.more else ""
    yield (
        f"sweep {plan.sweep}: {count_noun(len(plan.trials), 'trial')}, "
        f"{len(plan.finished)} finished, {len(plan.failed)} failed before, {plan.left} to train in "
        f"{count_noun(len(plan.packs), 'pack')}{more}"
    )
