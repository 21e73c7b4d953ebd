"""The door to Jinja: a sweep's report as one self-contained HTML page, and its files."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sweeps.config.search import GridConfig
from sweeps.config.yaml_text import to_yaml
from sweeps.planning import outcomes
from sweeps.planning.outcomes import SeedGroup, TrialOutcome
from sweeps.reports.attention import remarks
from sweeps.reports.figures import FIGURES, Study
from sweeps.reports.spread import of_seeds
from sweeps.reports.verdict import verdict
from sweeps.search.summary import summarize

# Metrics whose means over seeds the page shows, with what it calls them.
SEED_METRICS = {
    "measured rate": "rate/measured",
    "measured / linearised": "rate/measured_over_linearized",
    "measured / bound": "rate/measured_over_bound",
    "lambda_0 / m": "theory/lambda_0_over_m",
}
# Rows of each table; beyond these the page says how many there are.
MOST_ROWS = 500


@dataclass(frozen=True)
class ReportHeader:
    """What a report says of its sweep.

    Attributes:
        sweep, study: its names.
        command: what launched it.
        figure: the study's own figure, a name in FIGURES.
    """

    sweep: str
    study: str
    command: str
    figure: str


def files(
    heading: ReportHeader, study: Study, lines: Sequence[TrialOutcome]
) -> dict[str, str | bytes]:
    """report.html, its figures as PNG, trials.csv, and search.yaml of what is no grid."""
    from sweeps.reports import charts  # only now: with it comes Plotly

    shown, others = _figures(heading, study) if study.lines else ({}, {})
    cells, known, (drawn, data) = outcomes.seed_groups(lines), remarks(lines), charts.charts(study)
    page = _template().render(
        heading=heading,
        counts=outcomes.status_counts(lines),
        total=len(lines),
        verdict=verdict(lines),
        found=summarize(study.search, lines),
        charts=drawn,
        data=data,
        library=charts.library() if drawn else "",
        figures={name: base64.b64encode(png).decode() for name, png in shown.items()},
        table=_trials(lines[:MOST_ROWS]),
        most_rows=MOST_ROWS,
        cells=[(cell.name, _statistics(cell)) for cell in cells[:MOST_ROWS]],
        total_cells=len(cells),
        metrics=list(SEED_METRICS),
        remarks=known[:MOST_ROWS],
        total_remarks=len(known),
    )
    made: dict[str, str | bytes] = {"report.html": page, "trials.csv": outcomes.to_csv(lines)}
    if not isinstance(study.search, GridConfig):
        made["search.yaml"] = to_yaml(asdict(study.search))
    return made | shown | others


def _figures(heading: ReportHeader, study: Study) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The figures that the page shows, and those that only lie beside it; PNG by file name."""
    from sweeps.reports.figures import rates  # only now: with it comes matplotlib

    own = {"frontier": "frontier", "optuna": "best"}.get(study.search.name, heading.figure)
    shown = {f"{name}.png": FIGURES[name](study) for name in dict.fromkeys([own, heading.figure])}
    others = {"loss_curves.png": FIGURES["curves"](study)}
    return shown, others | {"measured_vs_predicted.png": rates.scatter(study)}


def _trials(lines: Sequence[TrialOutcome]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of trials, with their hashes."""
    header, rows = outcomes.table(lines)
    hashes = [line.planned.short_hash for line in lines]
    with_hash = [[row[0], digest, *row[1:]] for row, digest in zip(rows, hashes, strict=True)]
    return [header[0], "hash", *header[1:]], with_hash


def _statistics(cell: SeedGroup) -> list[list[str]]:
    """Mean and spread over the seeds, for each of SEED_METRICS."""
    values = [outcomes.values_of(cell.lines, key) for key in SEED_METRICS.values()]
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
