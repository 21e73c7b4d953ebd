"""Adaptive searches: how each is created, and the table and figure of its results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config.search import BaseSearch, FrontierConfig, OptunaConfig
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.search.base import Search, SearchSummary
from sweeps.search.best import best_summary
from sweeps.search.bisection import Bisection, Propose
from sweeps.search.frontiers import frontier_summary


@dataclass(frozen=True)
class SearchKind:
    """One kind of search.

    Attributes:
        create: function that creates the search from its config, its cells, a function that
            makes trials, and the trials that an earlier launch asked for.
        summary: function from its config and the outcomes of its trials to their table.
        figure: the figure that its report begins with.
    """

    create: Callable[[Any, list[PlannedTrial], Propose, Sequence[PlannedTrial]], Search]
    summary: Callable[[Any, Sequence[TrialOutcome]], SearchSummary]
    figure: str


def _tpe(*arguments: Any) -> Search:
    from sweeps.search.optuna import Tpe  # slow to import

    return Tpe(*arguments)


# By the class of the config; a search that is not here is a list of trials, without a table.
KINDS: dict[type[BaseSearch], SearchKind] = {
    OptunaConfig: SearchKind(_tpe, best_summary, "best"),
    FrontierConfig: SearchKind(
        lambda config, cells, propose, _: Bisection(config, cells, propose),
        frontier_summary,
        "frontier",
    ),
}


def summarize(config: BaseSearch, outcomes: Sequence[TrialOutcome]) -> SearchSummary | None:
    """Table of a search's results; None for a grid or random search."""
    kind = KINDS.get(type(config))
    return kind.summary(config, outcomes) if kind else None
