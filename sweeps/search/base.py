"""What every search is: rounds of trials that follow from the results of earlier rounds.

A search holds no state that a relaunch would need: asked again from its beginning, and told
the results that the ledger holds, it asks for the same trials and goes on where it was.
"""

from collections.abc import Mapping
from typing import Protocol

from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Result


class Search(Protocol):
    """Asks for trials round by round."""

    @property
    def more(self) -> int:
        """How many trials it may still ask for, at most."""
        ...

    def ask(self) -> list[PlannedTrial]:
        """The next round; empty when the search is over. Some may have been asked before."""
        ...

    def tell(self, results: Mapping[str, Result]) -> None:
        """The results known so far, by config hash; of a trial that failed there is none."""
        ...


class AllAtOnce:
    """A single round: the trials do not depend on any result."""

    def __init__(self, trials: list[PlannedTrial]) -> None:
        self._left = trials

    @property
    def more(self) -> int:
        """None beyond the single round."""
        return 0

    def ask(self) -> list[PlannedTrial]:
        """All trials, once."""
        asked, self._left = self._left, []
        return asked

    def tell(self, results: Mapping[str, Result]) -> None:
        """Nothing follows from them."""
