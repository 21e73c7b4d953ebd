"""Best points of a search by Optuna, computed from its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config.condition import mean
from sweeps.config.search import OptunaConfig
from sweeps.planning.labels import Labels
from sweeps.planning.outcomes import (
    TrialOutcome,
    format_number,
    group_by_others,
    labels_of,
    seed_groups,
)
from sweeps.search.base import SearchSummary


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


def best_summary(config: OptunaConfig, outcomes: Sequence[TrialOutcome]) -> SearchSummary:
    """Table of the best points, and the best value so far by the number of points tried."""
    bests = best_points(config, outcomes)
    which = "largest" if config.mode == "max" else "smallest"
    return SearchSummary(
        f"Best so far: the {which} {config.metric}",
        ["cell", "at", config.metric, "points", "without it"],
        [_best_row(best) for best in bests],
        by_step={"search/best": [(best.name, best.history) for best in bests]},
    )


def best_points(config: OptunaConfig, outcomes: Sequence[TrialOutcome]) -> list[Best]:
    """Best point of every cell, in the grid's order."""
    labels = labels_of(outcomes)
    return [
        _best(config, labels(cell), cell, [point.outcomes for point in seed_groups(of_cell)])
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


def _best_row(best: Best) -> list[str]:
    point = Labels(best.values)(best.values) if best.values else "-"
    return [best.name, point, format_number(best.value), str(best.tried), str(best.lost)]
