"""Command that tests the theory's claims: verify."""

import json
from typing import TYPE_CHECKING, Any

import click

from sweeps.cli.group import cli, compose, exit_with, warn_hidden, with_overrides

if TYPE_CHECKING:
    from sweeps.reports.claims import Score


@cli.command()
@with_overrides
@click.option("--json", "as_json", is_flag=True, help="Print the scorecard as JSON.")
def verify(overrides: tuple[str, ...], as_json: bool) -> None:
    """Test the theory's claims and print a scorecard.

    It launches the experiments theorem, width_scaling, depth_width, high_dimension, redraw,
    global_convergence, conservation, single_index and rate_vs_bound, which take some minutes
    together, and trains only what is missing. `size=paper` takes the papers' sizes. OVERRIDES apply
    to each one.

    Exit codes are those of `sweeps run`; a claim that was not seen is no failure.
    """
    from sweeps.driver.terminal import Terminal
    from sweeps.reports.claims import CLAIMS, METRICS, claims_frame, score

    if any(word.lstrip("+").startswith("experiment=") for word in overrides):
        raise click.UsageError("verify has experiments of its own: leave experiment= out")
    output = Terminal(stderr=as_json)
    names = list(dict.fromkeys(claim.experiment for claim in CLAIMS))
    typed = {name: (f"experiment={name}", *overrides) for name in names}
    with output.waiting("composing"):
        requests = {name: compose(typed[name]) for name in names}
    warn_hidden(requests[names[0]])
    with output.waiting("loading the engine"):
        from sweeps.driver.run import launch
    done = {name: launch(requests[name], typed[name], output) for name in names}
    frames = {name: claims_frame(finished.lines, METRICS) for name, finished in done.items()}
    scores = [score(claim, frames[claim.experiment]) for claim in CLAIMS]
    if as_json:
        sweeps = {name: finished.plan.sweep for name, finished in done.items()}
        click.echo(json.dumps([_plain(each, sweeps) for each in scores], indent=2))
    else:
        _show(scores, output.say)
    exit_with(*done.values())


def _show(scores: "list[Score]", say: Any) -> None:
    """Print two lines for each claim: the verdict with the claim, and what was measured."""
    width = max(len(each.finding.verdict) for each in scores) + 2
    for each in scores:
        finding = each.finding
        say(f"{finding.verdict:<{width}}{each.claim.text}")
        say(f"{'':<{width}}{finding.counted} {each.claim.assumptions}: {finding.measured or '-'}")


def _plain(each: "Score", sweeps: dict[str, str]) -> dict[str, Any]:
    """A row of the scorecard as JSON data."""
    claim, finding = each.claim, each.finding
    return {
        "name": claim.name,
        "claim": claim.text,
        "source": claim.source,
        "assumptions": claim.assumptions,
        "experiment": claim.experiment,
        "sweep": sweeps[claim.experiment],
        "count": finding.count,
        "of": finding.of,
        "held": finding.held,
        "measured": finding.measured,
        "verdict": finding.verdict,
    }
