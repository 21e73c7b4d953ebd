"""Result of a search, computed from its trials: best points, frontiers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.config.condition import Condition, mean
from sweeps.config.nested import flatten
from sweeps.config.search import FrontierConfig, OptunaConfig, SearchConfig
from sweeps.planning.labels import Labels, value_text
from sweeps.planning.outcomes import (
    MISSING,
    TrialOutcome,
    format_number,
    group_by_others,
    labels_of,
    seed_groups,
)
from sweeps.search.bisection import Bracket, bracket
from sweeps.search.growth import Growth, growths

FEW = 3  # cells whose results fit in one line


@dataclass(frozen=True)
class Best:
    """Best point of a cell.

    Attributes:
        name: of the cell.
        cell: its values of the grid's axes, without the seed.
        values: its point, by key of the space; None when no point has the metric yet.
        value: the metric there, the mean over seeds.
        history: (points tried, best value so far) at every improvement.
        tried: number of points with results.
        lost: number of those without the metric.
    """

    name: str
    cell: dict[str, Any]
    values: dict[str, Any] | None
    value: float | None
    history: list[tuple[int, float]]
    tried: int
    lost: int


@dataclass(frozen=True)
class Boundary:
    """Frontier of a cell.

    Attributes:
        name: of the cell.
        cell: its values of the grid's axes, with the seed.
        bracket: the values on its two sides; None when no trial has a result.
        line: a trial of the cell.
        error: of a trial that failed, which ended the search in this cell.
        open: whether a trial is under way.
    """

    name: str
    cell: dict[str, Any]
    bracket: Bracket | None
    line: TrialOutcome
    error: str = ""
    open: bool = False


@dataclass(frozen=True)
class SearchSummary:
    """Table of a search's results.

    Attributes:
        title, header, rows: the table.
        brief_columns: number of columns, from the first, that `brief` shows.
        remarks: sentences on the whole table.
    """

    title: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    brief_columns: int = 3
    remarks: list[str] = field(default_factory=list)

    @property
    def plain(self) -> list[dict[str, str]]:
        """The rows as dicts by column."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    @property
    def brief(self) -> str:
        """The first rows in one line, to show while the search runs."""
        rows = "; ".join(" ".join(row[: self.brief_columns]) for row in self.rows[:FEW])
        return rows + ("; ..." if len(self.rows) > FEW else "")


def summarize(config: SearchConfig, outcomes: Sequence[TrialOutcome]) -> SearchSummary | None:
    """Table of a search's results; None for a grid or random search."""
    if isinstance(config, OptunaConfig):
        rows = [_best_row(best) for best in best_points(config, outcomes)]
        which = "largest" if config.mode == "max" else "smallest"
        title = f"Best so far: the {which} {config.metric}"
        return SearchSummary(title, ["cell", "at", config.metric, "points", "without it"], rows)
    if isinstance(config, FrontierConfig):
        frontiers = boundaries(config, outcomes)
        rows = [_boundary_row(boundary) for boundary in frontiers]
        title = f"Frontier of {config.key} for `{config.condition.strip()}`"
        header = ["cell", "frontier", "held at", "failed at"]
        remarks = [growth.sentence(config.key) for growth in growths_of(config, frontiers)]
        return SearchSummary(title, header, rows, 2, remarks)
    return None


def best_points(config: OptunaConfig, outcomes: Sequence[TrialOutcome]) -> list[Best]:
    """Best point of every cell, in the grid's order."""
    labels = labels_of(outcomes)
    return [
        _best(config, labels(cell), cell, [point.lines for point in seed_groups(of_cell)])
        for cell, of_cell in group_by_others(outcomes, *config.space, "seed")
    ]


def _best(
    config: OptunaConfig, name: str, cell: dict[str, Any], points: list[list[TrialOutcome]]
) -> Best:
    sign = 1 if config.mode == "max" else -1
    best, at, history, tried, lost = None, None, [], 0, 0
    for outcomes in points:
        if not all(outcome.finished for outcome in outcomes):
            continue
        tried += 1
        value = mean(config.metric, [outcome.summary for outcome in outcomes])
        lost += value is None
        if value is not None and (best is None or sign * value > sign * best):
            best, at = value, {key: outcomes[0].planned.varying[key] for key in config.space}
            history.append((tried, value))
    return Best(name, cell, at, best, history, tried, lost)


def boundaries(config: FrontierConfig, outcomes: Sequence[TrialOutcome]) -> list[Boundary]:
    """Frontier of every cell, in the grid's order."""
    labels = labels_of(outcomes)
    return [
        _boundary(config, labels(cell), cell, of_cell)
        for cell, of_cell in group_by_others(outcomes, config.key)
    ]


def growths_of(config: FrontierConfig, frontiers: Sequence[Boundary]) -> list[Growth]:
    """Power laws of the frontiers against the main axis."""
    return growths(config, [(each.cell, each.bracket, each.line) for each in frontiers])


def _boundary(
    config: FrontierConfig, name: str, cell: dict[str, Any], outcomes: list[TrialOutcome]
) -> Boundary:
    condition = Condition.read(config.condition)
    answers = {
        float(
            outcome.planned.varying.get(config.key) or flatten(outcome.planned.plain)[config.key]
        ): condition.held(outcome.status, outcome.summary)
        for outcome in outcomes
        if outcome.finished
    }
    error = next((outcome.error for outcome in outcomes if outcome.error), "")
    open_ = any(outcome.status == MISSING for outcome in outcomes)
    sides = bracket(answers) if answers else None
    return Boundary(name, cell, sides, outcomes[0], error, open_)


def _best_row(best: Best) -> list[str]:
    point = Labels(best.values)(best.values) if best.values else "-"
    return [best.name, point, format_number(best.value), str(best.tried), str(best.lost)]


def _boundary_row(boundary: Boundary) -> list[str]:
    sides = boundary.bracket or Bracket(None, None)
    values = [_shown(sides.held), _shown(sides.failed)]
    if boundary.error:
        text = f"unknown: {boundary.error}"
    elif sides.ends is None:
        text = f"beyond the interval: it held {sides.kind}"
    else:
        text = f"{sides.kind} in [{_shown(sides.ends[0])}, {_shown(sides.ends[1])}]"
    return [boundary.name, f"so far {text}" if boundary.open else text, *values]


def _shown(value: float | None) -> str:
    return "-" if value is None else value_text(value)
