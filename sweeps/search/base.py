"""Protocol of a search, rounds of trials that follow from earlier results, and its table.

A search is not saved. A relaunch builds it anew from the trials that the ledger's sweep entry
lists, tells it the results that the ledger holds, and goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Result

FEW = 3  # cells whose results fit in one line


class Search(Protocol):
    """Asks for trials round by round."""

    @property
    def more(self) -> int:
        """Upper bound of the trials that it will still ask for."""
        ...

    def ask(self) -> list[PlannedTrial]:
        """Trials of the next round, trained or not; empty when the search is over."""
        ...

    def tell(self, results: Mapping[str, Result]) -> None:
        """Take the results so far, by config hash; a failed trial has none."""
        ...


class AllAtOnce:
    """Search of one round: its trials do not depend on results."""

    def __init__(self, trials: list[PlannedTrial]) -> None:
        self._left = trials

    @property
    def more(self) -> int:
        """Zero: there is one round only."""
        return 0

    def ask(self) -> list[PlannedTrial]:
        """All trials in the first round, none later."""
        trials, self._left = self._left, []
        return trials

    def tell(self, results: Mapping[str, Result]) -> None:
        """Ignore the results."""


@dataclass(frozen=True)
class SearchSummary:
    """Table of a search's results.

    Attributes:
        title, header, rows: the table.
        brief_columns: number of columns, from the first, that `brief` shows.
        remarks: sentences on the whole table.
        by_cell: (values of a cell, metric) of each cell that has the metric, by its name.
        by_step: (step, metric) of each series, by the name of the metric and of the series.
    """

    title: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    brief_columns: int = 3
    remarks: list[str] = field(default_factory=list)
    by_cell: dict[str, list[tuple[dict[str, Any], float]]] = field(default_factory=dict)
    by_step: dict[str, list[tuple[str, list[tuple[int, float]]]]] = field(default_factory=dict)

    @property
    def plain(self) -> list[dict[str, str]]:
        """The rows as dicts by column."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    @property
    def brief(self) -> str:
        """The first rows in one line, to show while the search runs."""
        rows = "; ".join(" ".join(row[: self.brief_columns]) for row in self.rows[:FEW])
        return rows + ("; ..." if len(self.rows) > FEW else "")
