"""The door to Jinja: the report of a sweep as one self-contained HTML page, with its files."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sweeps.config.yaml_text import to_yaml
from sweeps.metrics.shown import OF_SEEDS, headings
from sweeps.planning import outcomes
from sweeps.planning.outcomes import SeedGroup, TrialOutcome
from sweeps.reports.attention import remarks
from sweeps.reports.claims import scorecard
from sweeps.reports.figures import FIGURES, Study
from sweeps.reports.spread import of_seeds
from sweeps.reports.verdict import verdict
from sweeps.search.registry import KINDS, summarize

# Metrics whose means over seeds the page shows, by their names there.
# Limit on the rows of each table; the page states the total.
MAX_ROWS = 500


@dataclass(frozen=True)
class ReportHeader:
    """Names and command at the top of a report.

    Attributes:
        sweep, study: names of the sweep and its study.
        command: the command that launched the sweep.
        figure: name of the study's own figure, a key of FIGURES.
    """

    sweep: str
    study: str
    command: str
    figure: str


def files(
    header: ReportHeader, study: Study, trials: Sequence[TrialOutcome]
) -> dict[str, str | bytes]:
    """Contents of the report's files, by name.

    report.html, its figures as PNG, trials.csv, and search.yaml if the search is not a grid.

    Args:
        header: names and command.
        study: the finished trials, with their trajectories.
        trials: all trials.
    """
    from sweeps.reports import charts  # imports Plotly

    shown, others = _figures(header, study) if study.outcomes else ({}, {})
    groups, all_remarks = outcomes.seed_groups(trials), remarks(trials)
    all_charts, data = charts.charts(study)
    page = _template().render(
        header=header,
        counts=outcomes.status_counts(trials),
        total=len(trials),
        verdict=verdict(trials),
        claims=scorecard(trials),
        search=summarize(study.search, trials),
        charts=all_charts,
        data=data,
        library=charts.library() if all_charts else "",
        figures={name: base64.b64encode(png).decode() for name, png in shown.items()},
        table=_trials(trials[:MAX_ROWS]),
        max_rows=MAX_ROWS,
        groups=[(group.name, _statistics(group)) for group in groups[:MAX_ROWS]],
        total_groups=len(groups),
        metrics=headings(OF_SEEDS),
        remarks=all_remarks[:MAX_ROWS],
        total_remarks=len(all_remarks),
    )
    texts: dict[str, str | bytes] = {"report.html": page, "trials.csv": outcomes.to_csv(trials)}
    if study.search.space:
        texts["search.yaml"] = to_yaml(asdict(study.search))
    return texts | shown | others


def _figures(header: ReportHeader, study: Study) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """PNG figures by file name: those that the page shows, and those that are only files."""
    from sweeps.reports.figures import rates  # imports matplotlib

    kind = KINDS.get(type(study.search))
    own = kind.figure if kind else header.figure
    shown = {f"{name}.png": FIGURES[name](study) for name in dict.fromkeys([own, header.figure])}
    others = {"loss_curves.png": FIGURES["curves"](study)}
    return shown, others | {"measured_vs_predicted.png": rates.scatter(study)}


def _trials(trials: Sequence[TrialOutcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of trials, with their hashes."""
    header, rows = outcomes.table(trials)
    hashes = [trial.planned.short_hash for trial in trials]
    with_hash = [[row[0], digest, *row[1:]] for row, digest in zip(rows, hashes, strict=True)]
    return [header[0], "hash", *header[1:]], with_hash


def _statistics(group: SeedGroup) -> list[list[str]]:
    """Mean and spread over the seeds, for each of OF_SEEDS."""
    values = [outcomes.values_of(group.outcomes, key) for key in OF_SEEDS]
    return [of_seeds(each) if each else ["-"] for each in values]


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("sweeps", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
