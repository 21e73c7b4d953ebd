"""Protocol of a search: rounds of trials that follow from the results of earlier rounds.

A search is not saved. A relaunch builds it anew from the trials that the ledger's sweep entry
lists, tells it the results that the ledger holds, and goes on.
"""

from collections.abc import Mapping
from typing import Protocol

from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Result


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
