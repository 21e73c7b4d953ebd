"""Bisection: where along one key a condition ends to hold, for each cell by itself."""

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
    """What is known of one cell's frontier: the nearest values on its two sides.

    Attributes:
        held: the value nearest the frontier at which the condition held; None without one.
        failed: the same of where it did not hold.
    """

    held: float | None
    failed: float | None

    @property
    def kind(self) -> str:
        """Which side holds: `largest`, `smallest`; `everywhere` or `nowhere` one-sided."""
        if self.failed is None:
            return "everywhere"
        if self.held is None:
            return "nowhere"
        return "largest" if self.held < self.failed else "smallest"

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval that holds the frontier; None when it is one-sided."""
        if self.held is None or self.failed is None:
            return None
        return min(self.held, self.failed), max(self.held, self.failed)


def bracket(answers: Mapping[float, bool]) -> Bracket:
    """The bracket of the answers at some values, among which they change once at most."""
    values = sorted(answers)
    first = answers[values[0]]
    last = values[0]
    for value in values:
        if answers[value] != first:
            return Bracket(last, value) if first else Bracket(value, last)
        last = value
    # The same at both ends: the frontier lies beyond one of them.
    return Bracket(last, None) if first else Bracket(None, last)


def next_value(found: Bracket, interval: Interval, tolerance: float) -> float | None:
    """Where to ask next; None when the bracket is narrow enough, or one-sided."""
    if found.ends is None:
        return None
    low, high = found.ends
    width = high / low - 1 if interval.scale == "log" else high - low
    return None if width <= tolerance else interval.between(low, high)


@dataclass
class _Cell:
    """The bisection of one cell; `asked` are its trials under way, by value."""

    planned: PlannedTrial
    answers: dict[float, bool] = field(default_factory=dict)
    asked: dict[float, PlannedTrial] = field(default_factory=dict)
    over: bool = False


class Bisection:
    """The ends of the interval first, then a probe a round in every cell still open."""

    def __init__(self, config: FrontierConfig, cells: list[PlannedTrial], propose: Propose) -> None:
        self._config, self._propose = config, propose
        self._condition = Condition.read(config.condition)
        self._cells = [_Cell(cell) for cell in cells]

    @property
    def more(self) -> int:
        """As many halvings as bring every open cell within the tolerance."""
        return sum(self._halvings(cell) for cell in self._cells if not cell.over)

    def ask(self) -> list[PlannedTrial]:
        """The probes of all cells that are still open."""
        for cell in self._cells:
            values = [] if cell.over else self._values(cell)
            cell.over = not values
            cell.asked = {
                value: self._propose(cell.planned, {self._config.key: value}) for value in values
            }
        return [trial for cell in self._cells for trial in cell.asked.values()]

    def tell(self, results: Mapping[str, Result]) -> None:
        """Take in the answers; a cell whose probe failed has none, and ends there."""
        for cell in self._cells:
            for value, trial in cell.asked.items():
                if result := results.get(trial.config_hash):
                    cell.answers[value] = self._condition.held(result.status, result.summary)
                else:
                    cell.over = True
            cell.asked = {}

    def _values(self, cell: _Cell) -> list[float]:
        interval = self._config.interval
        if not cell.answers:
            return [interval.low, interval.high]
        value = next_value(bracket(cell.answers), interval, self._config.tolerance)
        return [] if value is None else [value]

    def _halvings(self, cell: _Cell) -> int:
        interval, tolerance = self._config.interval, self._config.tolerance
        if not cell.answers:  # the ends are under way
            return _count(interval, interval.low, interval.high, tolerance)
        ends = bracket(cell.answers).ends
        return _count(interval, *ends, tolerance) - len(cell.asked) if ends else 0


def _count(interval: Interval, low: float, high: float, tolerance: float) -> int:
    """How many halvings make a part of an interval narrow enough."""
    if interval.scale == "log":
        parts = math.log(high / low) / math.log1p(tolerance)
    else:
        parts = (high - low) / (max(tolerance, 1.0) if interval.integer else tolerance)
    return max(0, math.ceil(math.log2(parts)))
