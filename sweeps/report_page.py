"""The door to Jinja: a sweep's report as one self-contained HTML page, and its files."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import deq
from sweeps import report
from sweeps.early_stopping import STOPPED, STOPPED_AT
from sweeps.figures import FIGURES, Study
from sweeps.plain import to_yaml
from sweeps.report import STOPPED_BY_PERSON, Cell, Line, number
from sweeps.search.config import GridConfig
from sweeps.search.findings import findings

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
class Heading:
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


@dataclass(frozen=True)
class Statistic:
    """A metric's mean over the seeds of a cell, as text."""

    mean: str
    deviation: str
    interval: str


def files(heading: Heading, study: Study, lines: Sequence[Line]) -> dict[str, str | bytes]:
    """report.html, its figures as PNG, trials.csv, and search.yaml of what is no grid."""
    figures: dict[str, bytes] = {}
    own = {"frontier": "frontier", "optuna": "best"}.get(study.search.name, heading.figure)
    if study.lines:
        from sweeps.figures import rates  # only now: with it comes matplotlib

        figures = {
            f"{name}.png": FIGURES[name](study) for name in dict.fromkeys([own, heading.figure])
        } | {
            "loss_curves.png": FIGURES["curves"](study),
            "measured_vs_predicted.png": rates.scatter(study),
        }
    cells, known = report.cells(lines), remarks(lines)
    page = _template().render(
        heading=heading,
        counts=report.counts(lines),
        total=len(lines),
        found=findings(study.search, lines),
        figures={name: base64.b64encode(png).decode() for name, png in figures.items()},
        table=report.table(lines[:MOST_ROWS]),
        most_rows=MOST_ROWS,
        cells=[(cell.name, _statistics(cell)) for cell in cells[:MOST_ROWS]],
        total_cells=len(cells),
        metrics=list(SEED_METRICS),
        remarks=known[:MOST_ROWS],
        total_remarks=len(known),
    )
    made: dict[str, str | bytes] = {"report.html": page, "trials.csv": report.to_csv(lines)}
    if not isinstance(study.search, GridConfig):
        made["search.yaml"] = to_yaml(asdict(study.search))
    return made | figures


def remarks(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """(trial, what is to be known of it): what was violated, what failed, what has no rate."""
    found = []
    for line in lines:
        name, s = line.planned.name, line.summary
        if line.error:
            stopped = line.status == STOPPED_BY_PERSON
            found.append((name, line.error if stopped else f"failed: {line.error}"))
        if s.get("theory/bound_violation", 0.0) > 0 and s.get("theory/bound_held") != 1.0:
            excess = number(s["theory/bound_violation"])
            found.append((name, f"the theorem's bound was exceeded, by {excess} in log loss"))
        if s.get("theory/lambda_ratio_min", 1.0) < 0.5:
            ratio = number(s["theory/lambda_ratio_min"])
            found.append((name, f"lambda_t fell to {ratio} lambda_0, below one half"))
        if s.get("theory/well_posed_held", 1.0) == 0.0:
            found.append((name, "L ||W(t)||_2 reached 1"))
        if line.status == STOPPED:
            found.append((name, f"stopped early at step {s[STOPPED_AT]:g}: its rate is censored"))
        elif line.status in ("diverged", "ill_posed", "stalled"):
            found.append((name, line.status))
        elif line.finished and "rate/measured" not in s:
            found.append((name, "no rate was measured (its MLflow page says why)"))
    return found


def _statistics(cell: Cell) -> list[Statistic | None]:
    """A statistic for each of SEED_METRICS."""
    means = [cell.mean(key) for key in SEED_METRICS.values()]
    return [_statistic(mean) if mean else None for mean in means]


def _statistic(mean: deq.Mean) -> Statistic:
    if mean.deviation is None or mean.half_width is None:
        return Statistic(number(mean.value), "-", "one seed")
    low, high = mean.value - mean.half_width, mean.value + mean.half_width
    return Statistic(number(mean.value), number(mean.deviation), f"{number(low)} to {number(high)}")


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("sweeps", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
