"""Commands that compare finished trials: reproduce, diff."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeps.cli.complete_ids import complete_sweep, complete_trial
from sweeps.cli.exit_codes import FAILED
from sweeps.cli.group import (
    cli,
    compose_launch,
    config_dir,
    is_override,
    with_config_dir,
    with_overrides,
)

if TYPE_CHECKING:
    from sweeps.config.launch import LaunchConfig
    from sweeps.config.places import Place
    from sweeps.reproduction.runs import Reproduction
    from sweeps.tracking.tracker import Tracker


@cli.command()
@click.argument(
    "arguments", nargs=-1, metavar="[HASH] [OVERRIDES]...", shell_complete=complete_trial
)
@with_config_dir
@click.option(
    "--at",
    is_flag=False,
    flag_value="recorded",
    default="",
    metavar="[COMMIT]",
    help="Train with the code of a commit; `--at recorded`: of the record's commit.",
)
@click.option(
    "--sweep", default="", shell_complete=complete_sweep, help="Reproduce the trials of a sweep."
)
@click.option("--sample", type=int, metavar="K", help="Only K of them, drawn at random.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draw.")
@click.option("--allow-drift", is_flag=True, help="Continue with other versions or hardware.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def reproduce(
    arguments: tuple[str, ...],
    at: str,
    sweep: str,
    sample: int | None,
    seed: int,
    allow_drift: bool,
    as_json: bool,
) -> None:
    """Train finished trials again and compare.

    Every recorded step and summary metric is compared; exit 1 if one differs, or if the training
    raises.

    HASH: six or more digits of the trial's hash; or --sweep SWEEP. The verdict is recorded as
    a run in MLflow. If a data file was moved, `data.path=FILE` names its new place.

    --at uses the recorded commit with its uncommitted changes, or another commit, in a clone
    under the output root. If the recorded packages are not those of this environment, pip
    installs them. This runs the code in the record: use it only if you trust its author.
    """
    from sweeps.config.places import places_in, split_places
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.lookup import finished_of
    from sweeps.reproduction import runs
    from sweeps.reproduction.comparison import DIFFERENT

    hashes = [word for word in arguments if not is_override(word)]
    _check_usage(hashes, sweep, sample)
    named, others = split_places(filter(is_override, arguments))
    launch = compose_launch(others)
    places = places_in(named, config_dir())
    names = finished_of(sweep, launch) if sweep else {}
    chosen = runs.sample(list(names), sample, seed) if sweep else hashes
    terminal = Terminal(stderr=as_json)
    results, rows = [], []
    for result, run_id in _reproduce_all(launch, chosen, places, at, allow_drift):
        name = names.get(result.record.config_hash, "")
        results.append((name, result))
        rows.append(runs.to_plain(result) | {"run_id": run_id})
        if sweep:
            done = f"[{len(results)}/{len(chosen)}] {name}"
            terminal.say(f"{done}: {result.comparison or result.note}")
    runs.refuse_without_comparison([result for _, result in results], one=not sweep)
    if sweep:
        rows = [{"trial": name} | row for (name, _), row in zip(results, rows, strict=True)]
        terminal.table(*runs.table(results), left=4)
    elif not as_json:
        result = results[0][1]
        compared = f"{rows[0]['config_hash'][:12]}: {result.comparison}"
        terminal.say(compared if result.comparison else result.note)
    if as_json:
        all_rows = {"trials": rows, "of": len(names), "seed": seed}
        click.echo(json.dumps(all_rows if sweep else rows[0], indent=2))
    if any(result.kind in (DIFFERENT, runs.FAILED) for _, result in results):
        sys.exit(FAILED)


def _check_usage(hashes: list[str], sweep: str, sample: int | None) -> None:
    """Refuse arguments that name neither one trial nor a sweep."""
    if len(hashes) != (0 if sweep else 1):
        raise click.UsageError("name one trial by its HASH, or a sweep by --sweep SWEEP")
    if sample is not None and not sweep:
        raise click.UsageError("--sample draws from a sweep: give --sweep SWEEP")


def _reproduce_all(
    launch: "LaunchConfig", hashes: list[str], places: list["Place"], at: str, allow_drift: bool
) -> Iterator[tuple["Reproduction", str]]:
    """Yield each trial's reproduction, and the id of the verdict's run in MLflow."""
    from sweeps.inspect.lookup import record_of
    from sweeps.reproduction.reproduce import runtimes
    from sweeps.reproduction.runs import reproduce_all
    from sweeps.reproduction.sources import trainable

    # What is wrong is refused before MLflow is opened.
    configs = trainable(hashes, launch, places, here=not at)
    records = (
        replace(record_of(digest, launch), config=config) for digest, config in configs.items()
    )
    tracker = _tracker(launch)
    with runtimes(at, Path(launch.paths.output)) as runtime_for:
        for result in reproduce_all(records, runtime_for, allow_drift=allow_drift):
            if result.code:
                click.echo(f"the code of {result.code}", err=True)
            yield result, result.log_to(tracker) if tracker else ""


def _tracker(launch: "LaunchConfig") -> "Tracker | None":
    """Open MLflow for the verdicts; None, with a message, if its store cannot be written."""
    from sweeps.errors import OutputRootError
    from sweeps.tracking.tracker import Tracker

    try:
        return Tracker(launch.tracking, Path(launch.paths.output))
    except OutputRootError as error:
        click.echo(f"the verdict is not recorded: {error}", err=True)
        return None


@cli.command()
@click.argument("first", shell_complete=complete_trial)
@click.argument("second", shell_complete=complete_trial)
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print all differences as JSON.")
def diff(first: str, second: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show in which keys and results two trials differ.

    FIRST, SECOND: six or more digits of the hashes of finished trials.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.lookup import record_of
    from sweeps.planning import diff

    launch = compose_launch(overrides)
    a, b = (record_of(prefix, launch, steps=False) for prefix in (first, second))
    differences = diff.difference(a, b)
    if as_json:
        click.echo(json.dumps({"keys": differences.keys, "results": differences.results}, indent=2))
    else:
        Terminal().table(*diff.table(differences, a, b), left=1)
