"""Frontiers of a bisection, computed from its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config.condition import Condition
from sweeps.config.nested import flatten
from sweeps.config.search import FrontierConfig
from sweeps.planning.labels import value_text
from sweeps.planning.outcomes import MISSING, TrialOutcome, group_by_others, labels_of
from sweeps.search.base import SearchSummary
from sweeps.search.bisection import Bracket, bracket
from sweeps.search.growth import Growth, growths


@dataclass(frozen=True)
class Boundary:
    """Frontier of a cell.

    Attributes:
        name: of the cell.
        cell: its values of the grid's axes, with the seed.
        bracket: the values on its two sides; None before both ends of the interval have results.
        outcome: that of a trial of the cell.
        error: of a trial that failed, which ended the search in this cell.
        open: whether a trial is under way.
    """

    name: str
    cell: dict[str, Any]
    bracket: Bracket | None
    outcome: TrialOutcome
    error: str = ""
    open: bool = False


def frontier_summary(config: FrontierConfig, outcomes: Sequence[TrialOutcome]) -> SearchSummary:
    """Table of the frontiers with their power laws, and the two sides of each by its cell."""
    frontiers = boundaries(config, outcomes)
    sides = {
        side: [(each.cell, getattr(each.bracket, side)) for each in frontiers if each.bracket]
        for side in ("held", "failed")
    }
    return SearchSummary(
        f"Frontier of {config.key} for `{config.condition.strip()}`",
        ["cell", "frontier", "held at", "failed at"],
        [_boundary_row(boundary) for boundary in frontiers],
        brief_columns=2,
        remarks=[growth.sentence(config.key) for growth in growths_of(config, frontiers)],
        by_cell={
            f"frontier/{side}": [(cell, value) for cell, value in values if value is not None]
            for side, values in sides.items()
        },
    )


def boundaries(config: FrontierConfig, outcomes: Sequence[TrialOutcome]) -> list[Boundary]:
    """Frontier of every cell, in the grid's order."""
    labels = labels_of(outcomes)
    return [
        _boundary(config, labels(cell), cell, of_cell)
        for cell, of_cell in group_by_others(outcomes, config.key)
    ]


def growths_of(config: FrontierConfig, frontiers: Sequence[Boundary]) -> list[Growth]:
    """Power laws of the frontiers against the main axis."""
    return growths(config, [(each.cell, each.bracket, each.outcome) for each in frontiers])


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
    sides = bracket(answers) if len(answers) > 1 else None
    return Boundary(name, cell, sides, outcomes[0], error, open_)


def _boundary_row(boundary: Boundary) -> list[str]:
    sides = boundary.bracket or Bracket(None, None)
    values = [_shown(sides.held), _shown(sides.failed)]
    if boundary.error:
        text = f"unknown: {boundary.error}"
    elif boundary.bracket is None:
        return [boundary.name, "not known yet", *values]
    elif sides.ends is None:
        text = f"beyond the interval: it held {sides.kind}"
    else:
        text = f"{sides.kind} in [{_shown(sides.ends[0])}, {_shown(sides.ends[1])}]"
    return [boundary.name, f"so far {text}" if boundary.open else text, *values]


def _shown(value: float | None) -> str:
    return "-" if value is None else value_text(value)
