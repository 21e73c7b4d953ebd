"""Commands that show a plan or predictions without training: show, theory."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweeps.cli.group import MULTIRUN, cli, compose, config_dir, warn_hidden, with_overrides
from sweeps.config.texts import count_noun
from sweeps.errors import ConfigError

if TYPE_CHECKING:
    from sweeps.config.request import Request
    from sweeps.inspect.nearest import Nearest
    from sweeps.planning.plan import Plan, PlannedTrial

    # The nearest finished trial of each new trial, by config hash.
    NearestByHash = dict[str, Nearest | None]


@cli.command()
@with_overrides
@MULTIRUN
@click.option("--resolve", is_flag=True, help="Print each trial's resolved, checked config.")
@click.option("--hash", "hashes", is_flag=True, help="Print the config hash of each trial.")
def show(overrides: tuple[str, ...], resolve: bool, hashes: bool) -> None:
    """Print the composed and checked config, with its axes.

    Comments above it name your own config files that it is composed from.
    """
    from sweeps.config.config_files import user_folders
    from sweeps.config.hashing import config_hash
    from sweeps.config.hydra import composed_yaml
    from sweeps.config.request import listed_trials, trial_to_yaml

    request = compose(overrides)
    warn_hidden(request)
    if hashes:
        for point in listed_trials(request):
            click.echo(config_hash(point.trial))
    elif resolve:
        texts = [trial_to_yaml(point.trial) for point in listed_trials(request)]
        click.echo("---\n".join(texts), nl=False)
    else:
        for file in request.files:
            click.echo(f"# {file.name}: {file.path}")
        click.echo(composed_yaml(overrides, user_folders(config_dir())), nl=False)


@cli.command()
@with_overrides
@MULTIRUN
@click.option("--loss", default=1e-6, show_default=True, help="Count steps to this relative loss.")
@click.option("--depth", type=int, help="Compare with networks of depth 1 to this instead.")
@click.option("--figure", type=click.Path(path_type=Path), help="With --depth, write it here, PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def theory(
    overrides: tuple[str, ...], loss: float, depth: int | None, figure: Path | None, as_json: bool
) -> None:
    """Predict trials by the theory, without training.

    The slack of each condition, the predicted rates, the steps to a given loss and the cost,
    computed from the initial network and its equilibrium at step 0. With --depth, how fast networks
    of finite depth approach that equilibrium. Nothing is written but the figure.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect import forecast

    if figure and figure.suffix.lower() != ".png":
        raise ConfigError(f"--figure={figure}: the figure is a PNG, name it {figure.stem}.png")
    request = compose(overrides)
    warn_hidden(request)
    if depth is not None:
        _show_depths(request, depth, figure, as_json)
        return
    if figure:
        raise ConfigError(f"--figure={figure}: the figure is that of --depth, give it too")
    trials = list(forecast.forecasts(request, loss))
    if as_json:
        click.echo(forecast.to_json(trials, loss))
    else:
        forecast.show(trials, loss, Terminal())


def _show_depths(request: "Request", depth: int, figure: Path | None, as_json: bool) -> None:
    """Print networks of finite depth beside each trial's equilibrium, and write their figure."""
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect import depth as finite_depth

    trials = list(finite_depth.depths(request, depth))
    if figure:
        finite_depth.write_figure(trials, figure)
    if as_json:
        click.echo(finite_depth.to_json(trials))
    else:
        finite_depth.show(trials, Terminal())


def show_plan(plan: "Plan", as_json: bool, output: str) -> None:
    """Print a plan.

    Args:
        plan: the plan.
        as_json: True for JSON.
        output: the output root, to name the nearest finished trial of each new one; or empty.
    """
    from sweeps.inspect.nearest import nearest_finished

    nearest_by_hash = nearest_finished(plan, Path(output)) if output else {}
    if as_json:
        click.echo(json.dumps(_plain(plan, nearest_by_hash), indent=2))
        return
    for line in _lines(plan, nearest_by_hash):
        click.echo(line)


def _plain(plan: "Plan", nearest_by_hash: "NearestByHash") -> dict[str, Any]:
    """The plan as JSON data."""
    trials: list[dict[str, Any]] = []
    for trial in plan.trials:
        row = {
            "config_hash": trial.config_hash,
            "trial": trial.name,
            "finished": trial.config_hash in plan.finished,
            "state": plan.state(trial),
            "cost": _cost(trial),
        }
        if trial.config_hash in nearest_by_hash:
            closest = nearest_by_hash[trial.config_hash]
            row["nearest"] = asdict(closest) if closest else None
        trials.append(row)
    packs = [[trial.config_hash for trial in pack] for pack in plan.packs]
    return {"sweep": plan.sweep, "more": plan.more, "trials": trials, "packs": packs}


def _cost(trial: "PlannedTrial") -> dict[str, Any]:
    """Estimated products of a trial with either integrator, and the one to take."""
    from sweeps.planning.plan import integrator_cost

    cost = integrator_cost(trial)
    return {"products_steps": cost.steps, "products_windows": cost.windows, "take": cost.advice}


def _cost_line(trials: "list[PlannedTrial]") -> str:
    """Estimated FLOP of trials with either integrator."""
    from sweeps.planning.plan import integrator_cost

    costs = [integrator_cost(trial) for trial in trials]
    chosen = [trial.plain["train"].get("integrator", "steps") for trial in trials]
    steps = sum(cost.flop * cost.steps for cost in costs)
    windows = sum(cost.flop * (cost.windows or cost.steps) for cost in costs)
    text = f"estimated cost: {steps:.2g} FLOP by single steps, "
    if all(cost.windows is None for cost in costs):
        return text + "which train.integrator=windows cannot replace here"
    text += f"{windows:.2g} with train.integrator=windows; "
    pairs = zip(costs, chosen, strict=True)
    missed = sum(cost.advice == "windows" and name == "steps" for cost, name in pairs)
    which = "" if missed == len(trials) else f" in {missed} of {len(trials)} trials"
    advice = f"; windows pay{which}" if missed else ""
    return f"{text}{_taken(chosen)}{advice}"


def _taken(chosen: list[str]) -> str:
    """Say which integrators trials take; `chosen` are their values of train.integrator."""
    names = {"steps": "single steps", "windows": "windows"}
    if len(set(chosen)) == 1:
        return f"it takes {names[chosen[0]]}"
    return f"{chosen.count('windows')} of {len(chosen)} trials take windows"


def _lines(plan: "Plan", nearest_by_hash: "NearestByHash") -> Iterator[str]:
    """The plan as text: trials, packs, and a line of counts."""
    for trial in plan.trials:
        yield f"{trial.short_hash}  {plan.state(trial):13} {trial.name}"
        if trial.config_hash in nearest_by_hash:
            yield f"{'':14}{nearest_by_hash[trial.config_hash] or 'no trial is finished yet'}"
    for pack in plan.packs:
        if len(pack) > 1:
            yield f"pack of {len(pack)}: {', '.join(trial.name for trial in pack)}"
    if plan.packs:
        yield _cost_line([trial for pack in plan.packs for trial in pack])
    more = f", at most {plan.more} more that depend on their results" if plan.more else ""
    yield (
        f"sweep {plan.sweep}: {count_noun(len(plan.trials), 'trial')}, "
        f"{len(plan.finished)} finished, {len(plan.failed)} failed before, {plan.left} to train in "
        f"{count_noun(len(plan.packs), 'pack')}{more}"
    )
