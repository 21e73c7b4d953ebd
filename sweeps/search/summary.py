"""What a search found, from its trials and nothing else: the best point, the frontier."""

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

FEW = 3  # cells whose findings fit in one line


@dataclass(frozen=True)
class Best:
    """The best point of a cell.

    Attributes:
        name: of the cell.
        cell: what of the grid varies, the seed aside.
        values: of the keys that were searched; None when no point has the metric yet.
        value: the metric there, the mean over seeds.
        history: (points tried so far, the best value among them) wherever it rose.
        tried, lost: points with results, and those of them that have no such metric.
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
    """A cell's frontier.

    Attributes:
        name: of the cell.
        cell: what of the grid varies, the seed included.
        bracket: the values on its two sides; None when no probe has a result.
        line: a trial of the cell.
        error: of a probe that failed: the search ended there.
        open: whether a probe is under way.
    """

    name: str
    cell: dict[str, Any]
    bracket: Bracket | None
    line: TrialOutcome
    error: str = ""
    open: bool = False


@dataclass(frozen=True)
class SearchSummary:
    """A table of what was found, under a title.

    Attributes:
        title, header, rows: the table.
        telling: how many of its columns say it in brief.
    """

    title: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    telling: int = 3

    @property
    def plain(self) -> list[dict[str, str]]:
        """The rows by their columns, for a script."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    @property
    def brief(self) -> str:
        """The first rows in one line, for while the search is under way."""
        rows = "; ".join(" ".join(row[: self.telling]) for row in self.rows[:FEW])
        return rows + ("; ..." if len(self.rows) > FEW else "")


def summarize(config: SearchConfig, lines: Sequence[TrialOutcome]) -> SearchSummary | None:
    """The table of a search that looks for something; None of one that does not."""
    if isinstance(config, OptunaConfig):
        rows = [_best_row(found) for found in best_points(config, lines)]
        which = "largest" if config.mode == "max" else "smallest"
        title = f"Best so far: the {which} {config.metric}"
        return SearchSummary(title, ["cell", "at", config.metric, "points", "without it"], rows)
    if isinstance(config, FrontierConfig):
        rows = [_edge_row(found) for found in boundaries(config, lines)]
        title = f"Frontier of {config.key} for `{config.condition.strip()}`"
        return SearchSummary(title, ["cell", "frontier", "held at", "failed at"], rows, 2)
    return None


def best_points(config: OptunaConfig, lines: Sequence[TrialOutcome]) -> list[Best]:
    """The best point of every cell, in the grid's order."""
    labels = labels_of(lines)
    return [
        _best(config, labels(cell), cell, [point.lines for point in seed_groups(of_cell)])
        for cell, of_cell in group_by_others(lines, *config.space, "seed")
    ]


def _best(
    config: OptunaConfig, name: str, cell: dict[str, Any], points: list[list[TrialOutcome]]
) -> Best:
    sign = 1 if config.mode == "max" else -1
    best, at, history, tried, lost = None, None, [], 0, 0
    for lines in points:
        if not all(line.finished for line in lines):
            continue
        tried += 1
        value = mean(config.metric, [line.summary for line in lines])
        lost += value is None
        if value is not None and (best is None or sign * value > sign * best):
            best, at = value, {key: lines[0].planned.varying[key] for key in config.space}
            history.append((tried, value))
    return Best(name, cell, at, best, history, tried, lost)


def boundaries(config: FrontierConfig, lines: Sequence[TrialOutcome]) -> list[Boundary]:
    """The frontier in every cell, in the grid's order."""
    labels = labels_of(lines)
    return [
        _edge(config, labels(cell), cell, of_cell)
        for cell, of_cell in group_by_others(lines, config.key)
    ]


def _edge(
    config: FrontierConfig, name: str, cell: dict[str, Any], lines: list[TrialOutcome]
) -> Boundary:
    condition = Condition.read(config.condition)
    answers = {
        float(flatten(line.planned.plain)[config.key]): condition.held(line.status, line.summary)
        for line in lines
        if line.finished
    }
    error = next((line.error for line in lines if line.error), "")
    open_ = any(line.status == MISSING for line in lines)
    found = bracket(answers) if answers else None
    return Boundary(name, cell, found, lines[0], error, open_)


def _best_row(found: Best) -> list[str]:
    at = Labels(found.values)(found.values) if found.values else "-"
    counts = [str(found.tried), str(found.lost)]
    return [found.name, at, format_number(found.value), *counts]


def _edge_row(found: Boundary) -> list[str]:
    sides = found.bracket or Bracket(None, None)
    values = [_shown(sides.held), _shown(sides.failed)]
    if found.error:
        said = f"unknown: {found.error}"
    elif sides.ends is None:
        said = f"beyond the interval: it held {sides.kind}"
    else:
        said = f"{sides.kind} in [{_shown(sides.ends[0])}, {_shown(sides.ends[1])}]"
    return [found.name, f"so far {said}" if found.open else said, *values]


def _shown(value: float | None) -> str:
    return "-" if value is None else value_text(value)
