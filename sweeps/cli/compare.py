"""Commands that compare finished trials: reproduce, diff."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeps.cli.complete_ids import complete_sweep, complete_trial
from sweeps.cli.group import cli, request, with_config_dir, with_overrides

if TYPE_CHECKING:
    from sweeps.config.request import LaunchConfig
    from sweeps.driver.terminal import Terminal
    from sweeps.reproduction.runs import Attempt
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
    help="With the code of a commit, in a checkout of its own; `--at recorded`: the record's.",
)
@click.option(
    "--sweep", default="", shell_complete=complete_sweep, help="A sweep's trials, not one."
)
@click.option("--sample", type=int, metavar="K", help="K of them, drawn at random.")
@click.option("--seed", default=0, show_default=True, help="Which K.")
@click.option("--allow-drift", is_flag=True, help="Go on under other versions or hardware.")
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

    HASH: six or more digits of the trial's hash; or --sweep SWEEP. A verdict is a run of its
    own in MLflow.

    --at trains with the recorded commit and its uncommitted changes, or another commit's
    code, in a clone under the output root; with the packages here where they are the recorded
    ones, with those installed by pip otherwise. It runs the code that a record holds: trust
    whom it is from.
    """
    hashes = [word for word in words if "=" not in word]
    if len(hashes) != (0 if sweep else 1):
        raise click.UsageError("name one trial by its HASH, or a sweep by --sweep SWEEP")
    if sample is not None and not sweep:
        raise click.UsageError("--sample draws from a sweep: give --sweep SWEEP")
    launch = request([word for word in words if "=" in word]).launch
    asked = _Asked(launch, at, allow_drift=allow_drift, as_json=as_json)
    if sweep:
        _again_sample(asked, sweep, sample, seed)
    else:
        _again_one(asked, hashes[0])


@dataclass(frozen=True)
class _Asked:
    """How to train again: where the record is, with what code, whatever else has changed."""

    launch: "LaunchConfig"
    at: str
    allow_drift: bool
    as_json: bool

    @property
    def output(self) -> Path:
        """The output root."""
        return Path(self.launch.paths.output)


def _again_one(asked: _Asked, prefix: str) -> None:
    """Reproduce a trial; exit 1 when it differs."""
    from sweeps.inspect.lookup import record_of
    from sweeps.reproduction.comparison import DIFFERENT
    from sweeps.reproduction.reproduce import places
    from sweeps.reproduction.runs import attempt, to_plain

    record = record_of(prefix, asked.launch)
    tracker = _tracker(asked)
    with places(asked.at, asked.output) as place:
        where = place(record)
        if asked.at:
            click.echo(f"the code of {where}", err=True)
        tried = attempt(record, where, allow_drift=asked.allow_drift)
    run_id = tried.told_to(tracker) if tracker else ""
    if asked.as_json:
        click.echo(json.dumps(to_plain(tried) | {"run_id": run_id}, indent=2))
    else:
        click.echo(f"{record.config_hash[:12]}: {tried.verdict}")
    if tried.kind == DIFFERENT:
        sys.exit(1)


def _again_sample(asked: _Asked, sweep: str, count: int | None, seed: int) -> None:
    """Reproduce a sweep's trials, or some; exit 1 when one differs or fails, 2 if all drifted."""
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.lookup import finished_of
    from sweeps.reproduction.comparison import DIFFERENT
    from sweeps.reproduction.runs import FAILED, refuse_all_drifted, sample, table, to_plain

    terminal = Terminal(stderr=asked.as_json)
    names = finished_of(sweep, asked.launch)
    found, said = [], []
    for name, tried, run_id in _tried(asked, names, sample(list(names), count, seed), terminal):
        found.append((name, tried))
        said.append({"trial": name} | to_plain(tried) | {"run_id": run_id})
    refuse_all_drifted([tried for _, tried in found])
    terminal.table(*table(found), left=4)
    if asked.as_json:
        click.echo(json.dumps({"trials": said, "of": len(names), "seed": seed}, indent=2))
    if any(tried.kind in (DIFFERENT, FAILED) for _, tried in found):
        sys.exit(1)


def _tried(
    asked: _Asked, names: dict[str, str], chosen: list[str], terminal: "Terminal"
) -> Iterator[tuple[str, "Attempt", str]]:
    """Each chosen trial as it is trained again: its name, how that went, its verdict's run."""
    from sweeps.inspect.lookup import record_of
    from sweeps.reproduction.reproduce import places
    from sweeps.reproduction.runs import attempts

    tracker = _tracker(asked)
    with places(asked.at, asked.output) as place:
        records = (record_of(digest, asked.launch) for digest in chosen)
        found = attempts(records, place, allow_drift=asked.allow_drift)
        for done, tried in enumerate(found, start=1):
            name = names[tried.record.config_hash]
            terminal.say(f"[{done}/{len(chosen)}] {name}: {tried.verdict or tried.note}")
            yield name, tried, tried.told_to(tracker) if tracker else ""


def _tracker(asked: _Asked) -> "Tracker | None":
    """Open MLflow, for the verdicts; None, with a word, where its store cannot be written."""
    from sweeps.errors import OutputRootError
    from sweeps.tracking.tracker import Tracker

    try:
        return Tracker(asked.launch.tracking, asked.output)
    except OutputRootError as error:
        click.echo(f"what comes of it is not recorded: {error}", err=True)
        return None


@cli.command()
@click.argument("first", shell_complete=complete_trial)
@click.argument("second", shell_complete=complete_trial)
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print all that differs as JSON.")
def diff(first: str, second: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show where two finished trials differ: config keys and results.

    FIRST, SECOND: six or more digits of their hashes.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.inspect.lookup import record_of
    from sweeps.planning import diff

    launch = request(overrides).launch
    a, b = (record_of(name, launch, steps=False) for name in (first, second))
    found = diff.difference(a, b)
    if as_json:
        click.echo(json.dumps({"keys": found.keys, "results": found.results}, indent=2))
    else:
        Terminal().table(*diff.table(found, a, b), left=1)
