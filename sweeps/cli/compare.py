"""Commands that compare finished trials: reproduce, diff."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeps.cli.complete_ids import complete_sweep, complete_trial
from sweeps.cli.group import cli, compose, is_override, with_config_dir, with_overrides

if TYPE_CHECKING:
    from sweeps.config.request import LaunchConfig
    from sweeps.driver.terminal import Terminal
    from sweeps.reproduction.runs import Reproduction
    from sweeps.tracking.tracker import Tracker


@cli.command()
@click.argument("words", nargs=-1, metavar="[HASH] [OVERRIDES]...", shell_complete=complete_trial)
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
    words: tuple[str, ...],
    at: str,
    sweep: str,
    sample: int | None,
    seed: int,
    allow_drift: bool,
    as_json: bool,
) -> None:
    """Train finished trials again and compare.

    Every recorded step and summary metric is compared; exit 1 if one differs.

    HASH: six or more digits of the trial's hash; or --sweep SWEEP. The verdict is recorded as
    a run in MLflow.

    --at uses the recorded commit with its uncommitted changes, or another commit, in a clone
    under the output root. If the recorded packages are not those of this environment, pip
    installs them. This runs the code in the record: use it only if you trust its author.
    """
    hashes = [word for word in words if not is_override(word)]
    if len(hashes) != (0 if sweep else 1):
        raise click.UsageError("name one trial by its HASH, or a sweep by --sweep SWEEP")
    if sample is not None and not sweep:
        raise click.UsageError("--sample draws from a sweep: give --sweep SWEEP")
    launch = compose(list(filter(is_override, words))).launch
    options = _Options(launch, at, allow_drift=allow_drift, as_json=as_json)
    if sweep:
        _reproduce_sweep(options, sweep, sample, seed)
    else:
        _reproduce_one(options, hashes[0])


@dataclass(frozen=True)
class _Options:
    """Options of `sweeps reproduce`: launch config, value of --at, flags."""

    launch: "LaunchConfig"
    at: str
    allow_drift: bool
    as_json: bool

    @property
    def output(self) -> Path:
        """The output root."""
        return Path(self.launch.paths.output)


def _reproduce_one(options: _Options, prefix: str) -> None:
    """Reproduce one trial; exit 1 if it differs."""
    from sweeps.inspect.lookup import record_of
    from sweeps.reproduction import runs
    from sweeps.reproduction.comparison import DIFFERENT
    from sweeps.reproduction.reproduce import runtimes

    record = record_of(prefix, options.launch)
    tracker = _tracker(options)
    with runtimes(options.at, options.output) as runtime_for:
        runtime = runtime_for(record)
        if options.at:
            click.echo(f"the code of {runtime}", err=True)
        result = runs.reproduce(record, runtime, allow_drift=options.allow_drift)
    run_id = result.log_to(tracker) if tracker else ""
    if options.as_json:
        click.echo(json.dumps(runs.to_plain(result) | {"run_id": run_id}, indent=2))
    else:
        click.echo(f"{record.config_hash[:12]}: {result.comparison}")
    if result.kind == DIFFERENT:
        sys.exit(1)


def _reproduce_sweep(options: _Options, sweep: str, count: int | None, seed: int) -> None:
    """Reproduce trials of a sweep; exit 1 if one differs or fails, 2 if all have drifted."""
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.lookup import finished_of
    from sweeps.reproduction import runs
    from sweeps.reproduction.comparison import DIFFERENT

    output = Terminal(stderr=options.as_json)
    names = finished_of(sweep, options.launch)
    chosen = runs.sample(list(names), count, seed)
    results, rows = [], []
    for name, result, run_id in _reproduce_all(options, names, chosen, output):
        results.append((name, result))
        rows.append({"trial": name} | runs.to_plain(result) | {"run_id": run_id})
    runs.refuse_all_drifted([result for _, result in results])
    output.table(*runs.table(results), left=4)
    if options.as_json:
        click.echo(json.dumps({"trials": rows, "of": len(names), "seed": seed}, indent=2))
    if any(result.kind in (DIFFERENT, runs.FAILED) for _, result in results):
        sys.exit(1)


def _reproduce_all(
    options: _Options, names: dict[str, str], chosen: list[str], output: "Terminal"
) -> Iterator[tuple[str, "Reproduction", str]]:
    """Yield each trial's name, its reproduction, and the id of the verdict's run in MLflow."""
    from sweeps.inspect.lookup import record_of
    from sweeps.reproduction.reproduce import runtimes
    from sweeps.reproduction.runs import reproduce_all

    tracker = _tracker(options)
    with runtimes(options.at, options.output) as runtime_for:
        records = (record_of(digest, options.launch) for digest in chosen)
        results = reproduce_all(records, runtime_for, allow_drift=options.allow_drift)
        for done, result in enumerate(results, start=1):
            name = names[result.record.config_hash]
            output.say(f"[{done}/{len(chosen)}] {name}: {result.comparison or result.note}")
            yield name, result, result.log_to(tracker) if tracker else ""


def _tracker(options: _Options) -> "Tracker | None":
    """Open MLflow for the verdicts; None, with a message, if its store cannot be written."""
    from sweeps.errors import OutputRootError
    from sweeps.tracking.tracker import Tracker

    try:
        return Tracker(options.launch.tracking, options.output)
    except OutputRootError as error:
        click.echo(f"the verdict will not be recorded: {error}", err=True)
        return None


@cli.command()
@click.argument("first", shell_complete=complete_trial)
@click.argument("second", shell_complete=complete_trial)
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print all differences as JSON.")
def diff(first: str, second: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the differences between two finished trials: config keys and results.

    FIRST, SECOND: six or more digits of their hashes.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.lookup import record_of
    from sweeps.planning import diff

    launch = compose(overrides).launch
    a, b = (record_of(prefix, launch, steps=False) for prefix in (first, second))
    differences = diff.difference(a, b)
    if as_json:
        click.echo(json.dumps({"keys": differences.keys, "results": differences.results}, indent=2))
    else:
        Terminal().table(*diff.table(differences, a, b), left=1)
