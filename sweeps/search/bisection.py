"""Bisection along one key, in each cell: finds where a condition stops to hold."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.config.condition import Condition
from sweeps.config.search import FrontierConfig
from sweeps.config.space import Interval
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Result

Propose = Callable[[PlannedTrial, dict[str, Any]], PlannedTrial]


@dataclass(frozen=True)
class Bracket:
    """The nearest values on the two sides of a cell's frontier.

    Attributes:
        held: value nearest to the frontier at which the condition held; None without one.
        failed: value nearest to the frontier at which it did not hold; None without one.
    """

    held: float | None
    failed: float | None

    @property
    def kind(self) -> str:
        """Side that holds: up to a `largest`, from a `smallest` value; `everywhere`, `nowhere`."""
        if self.failed is None:
            return "everywhere"
        if self.held is None:
            return "nowhere"
        return "largest" if self.held < self.failed else "smallest"

    @property
    def ends(self) -> tuple[float, float] | None:
        """Interval that contains the frontier; None when only one side is known."""
        if self.held is None or self.failed is None:
            return None
        return min(self.held, self.failed), max(self.held, self.failed)


def bracket(answers: Mapping[float, bool]) -> Bracket:
    """The bracket that answers at some values give.

    Args:
        answers: whether the condition held, by value; it changes once at most.
    """
    values = sorted(answers)
    first = answers[values[0]]
    last = values[0]
    for value in values:
        if answers[value] != first:
            return Bracket(last, value) if first else Bracket(value, last)
        last = value
    # One answer everywhere: the frontier is outside of the interval.
    return Bracket(last, None) if first else Bracket(None, last)


def next_value(bracket: Bracket, interval: Interval, tolerance: float) -> float | None:
    """The value to try next; None when the bracket is one-sided or narrow enough."""
    if bracket.ends is None:
        return None
    low, high = bracket.ends
    width = high / low - 1 if interval.scale == "log" else high - low
    return None if width <= tolerance else interval.between(low, high)


@dataclass
class _Cell:
    """Bisection of one cell.

    Attributes:
        planned: the cell.
        answers: whether the condition held, by value.
        running: trials under way, by value.
        over: whether the bisection has ended.
    """

    planned: PlannedTrial
    answers: dict[float, bool] = field(default_factory=dict)
    running: dict[float, PlannedTrial] = field(default_factory=dict)
    over: bool = False


class Bisection:
    """Tries the ends of the interval first, then one value a round in every open cell."""

    def __init__(self, config: FrontierConfig, cells: list[PlannedTrial], propose: Propose) -> None:
        self._config, self._propose = config, propose
        self._condition = Condition.read(config.condition)
        self._cells = [_Cell(cell) for cell in cells]

    @property
    def more(self) -> int:
        """Number of halvings that bring every open cell within the tolerance."""
        return sum(self._halvings(cell) for cell in self._cells if not cell.over)

    def ask(self) -> list[PlannedTrial]:
        """Trials of the next values, of all cells that are still open."""
        for cell in self._cells:
            values = [] if cell.over else self._values(cell)
            cell.over = not values
            cell.running = {
                value: self._propose(cell.planned, {self._config.key: value}) for value in values
            }
        return [trial for cell in self._cells for trial in cell.running.values()]

    def tell(self, results: Mapping[str, Result]) -> None:
        """Record the answers; a failed trial gives none and ends the bisection of its cell."""
        for cell in self._cells:
            for value, trial in cell.running.items():
                if result := results.get(trial.config_hash):
                    cell.answers[value] = self._condition.held(result.status, result.summary)
                else:
                    cell.over = True
            cell.running = {}

    def _values(self, cell: _Cell) -> list[float]:
        interval = self._config.interval
        if not cell.answers:
            return [interval.low, interval.high]
        value = next_value(bracket(cell.answers), interval, self._config.tolerance)
        return [] if value is None else [value]

    def _halvings(self, cell: _Cell) -> int:
        interval, tolerance = self._config.interval, self._config.tolerance
        if not cell.answers:  # the interval's ends are under way
            return _count(interval, interval.low, interval.high, tolerance)
        ends = bracket(cell.answers).ends
        return _count(interval, *ends, tolerance) - len(cell.running) if ends else 0


def _count(interval: Interval, low: float, high: float, tolerance: float) -> int:
    """Number of halvings that bring a part of an interval within the tolerance."""
    if interval.scale == "log":
        parts = math.log(high / low) / math.log1p(tolerance)
    else:
        parts = (high - low) / (max(tolerance, 1.0) if interval.integer else tolerance)
    return max(0, math.ceil(math.log2(parts)))
