"""The door to Optuna: its TPE sampler, asked and told in rounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from sweeps.config.condition import mean
from sweeps.config.search import OptunaConfig
from sweeps.config.space import Choice, Dimension, short
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Result

Propose = Callable[[PlannedTrial, dict[str, Any]], PlannedTrial]


class Tpe:
    """A study of Optuna's for every cell of the grid but its seeds, all in step.

    The sampler's stream follows from its seed and from what it is told, so that a search
    asked again from its beginning asks for the same trials.
    """

    def __init__(self, config: OptunaConfig, cells: list[PlannedTrial], propose: Propose) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        repeats: dict[str, list[PlannedTrial]] = {}
        for cell in cells:
            repeats.setdefault(cell.cell_hash, []).append(cell)
        self._studies = [_Study(config, seeds, propose) for seeds in repeats.values()]
        self._seeds, self._concurrent = len(cells), config.concurrent
        self._left = config.samples

    @property
    def more(self) -> int:
        """Points that are left, with every seed in every cell."""
        return self._left * self._seeds

    def ask(self) -> list[PlannedTrial]:
        """As many points as may be tried at once, in every cell, with every seed."""
        count = min(self._concurrent, self._left)
        self._left -= count
        return [t for study in self._studies for _ in range(count) for t in study.ask()]

    def tell(self, results: Mapping[str, Result]) -> None:
        """Pass the round's results on."""
        for study in self._studies:
            study.tell(results)


@dataclass(frozen=True)
class _Point:
    """A point that was asked: Optuna's trial of it, and ours, one for each seed."""

    asked: optuna.Trial
    trials: list[PlannedTrial]


class _Study:
    """The search of one cell."""

    def __init__(self, config: OptunaConfig, seeds: list[PlannedTrial], propose: Propose) -> None:
        self._config, self._seeds, self._propose = config, seeds, propose
        self._distributions = {key: _distribution(d) for key, d in config.space.items()}
        self._study = optuna.create_study(
            direction="minimize" if config.mode == "min" else "maximize",
            # Of points under way it is assumed that they are bad: a round is not one point.
            sampler=optuna.samplers.TPESampler(seed=config.seed, constant_liar=True),
        )
        self._open: list[_Point] = []

    def ask(self) -> list[PlannedTrial]:
        asked = self._study.ask(self._distributions)
        values = {key: _value(self._config.space[key], v) for key, v in asked.params.items()}
        point = _Point(asked, [self._propose(cell, values) for cell in self._seeds])
        self._open.append(point)
        return point.trials

    def tell(self, results: Mapping[str, Result]) -> None:
        for point in self._open:
            found = [results.get(trial.config_hash) for trial in point.trials]
            known = [result for result in found if result is not None]
            if len(known) < len(found):  # a trial raised: it says nothing of the point
                self._study.tell(point.asked, state=TrialState.FAIL)
                continue
            value = mean(self._config.metric, [result.summary for result in known])
            if value is None:
                # For TPE worse than every point with a value, whatever the values' scale.
                self._study.tell(point.asked, state=TrialState.PRUNED)
            else:
                self._study.tell(point.asked, value)
        self._open = []


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's name for a dimension; of a choice the place in its list is drawn."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(range(len(dimension.values)))
    log = dimension.scale == "log"
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=log)
    return FloatDistribution(dimension.low, dimension.high, log=log)


def _value(dimension: Dimension, drawn: Any) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[drawn]
    if dimension.integer:
        return drawn
    return min(max(short(drawn), dimension.low), dimension.high)
