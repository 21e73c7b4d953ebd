"""The door to Optuna: its TPE sampler, asked for points in rounds."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.config.condition import mean
from sweeps.config.search import OptunaConfig
from sweeps.config.space import Choice, Dimension, short
from sweeps.planning.groups import grouped
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Result

Propose = Callable[[PlannedTrial, dict[str, Any]], PlannedTrial]


class Tpe:
    """One Optuna study for each cell of the grid without its seeds, all in step.

    The points that the sweep asked for before come first. So a resumed search trains no point
    twice, whatever the installed version of Optuna samples.
    """

    def __init__(
        self,
        config: OptunaConfig,
        cells: list[PlannedTrial],
        propose: Propose,
        asked: Sequence[PlannedTrial] = (),
    ) -> None:
        """Create the studies.

        Args:
            config: the search.
            cells: the cells of the grid, seeds included.
            propose: makes the trial of a cell and a point.
            asked: trials that an earlier launch of this sweep asked for, in their order.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        groups = grouped(cells, lambda cell: cell.cell_hash)
        self._studies = [_Study(config, seeds, propose) for _, seeds in groups]
        self._replay = [study.points_of(asked) for study in self._studies]
        self._order = {trial.config_hash: place for place, trial in enumerate(asked)}
        self._seeds, self._concurrent = len(cells), config.concurrent
        self._left = config.samples

    @property
    def more(self) -> int:
        """Trials that are left: points times cells and seeds."""
        return self._left * self._seeds

    def ask(self) -> list[PlannedTrial]:
        """Trials of the next points, of every cell and seed: first those of earlier launches."""
        if any(self._replay):
            points, self._replay = self._replay, []
        else:
            count = min(self._concurrent, self._left)
            points = [study.sample(count) for study in self._studies]
        self._left -= max(len(of_study) for of_study in points)
        opened = zip(self._studies, points, strict=True)
        trials = [trial for study, of_study in opened for trial in study.open(of_study)]
        return sorted(trials, key=lambda t: self._order.get(t.config_hash, len(self._order)))

    def tell(self, results: Mapping[str, Result]) -> None:
        """Add the results of the last round to the studies."""
        for study in self._studies:
            study.tell(results)


@dataclass(frozen=True)
class _Point:
    """A point under way.

    Attributes:
        values: by key of the space.
        trials: one for each seed.
    """

    values: dict[str, Any]
    trials: list[PlannedTrial]


class _Study:
    """The search of one cell. Optuna's study is rebuilt from the results for every round."""

    def __init__(self, config: OptunaConfig, seeds: list[PlannedTrial], propose: Propose) -> None:
        self._config, self._seeds, self._propose = config, seeds, propose
        self._distributions = {key: _distribution(d) for key, d in config.space.items()}
        self._ended: list[FrozenTrial] = []
        self._open: list[_Point] = []

    def points_of(self, trials: Sequence[PlannedTrial]) -> list[dict[str, Any]]:
        """The points of this cell's trials, each once, in their order."""
        points = [
            {key: trial.varying[key] for key in self._config.space}
            for trial in trials
            if any(cell.varying.items() <= trial.varying.items() for cell in self._seeds)
        ]
        return list({repr(values): values for values in points}.values())

    def sample(self, count: int) -> list[dict[str, Any]]:
        """New points, which follow from the results, the seed and the number of points so far."""
        seed = zlib.crc32(f"{self._config.seed}/{len(self._ended)}".encode())
        study = optuna.create_study(
            direction="minimize" if self._config.mode == "min" else "maximize",
            # Points under way count as bad ones: a round has several different points.
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        )
        study.add_trials(self._ended)
        params = [study.ask(self._distributions).params for _ in range(count)]
        return [
            {key: _to_value(self._config.space[key], param) for key, param in point.items()}
            for point in params
        ]

    def open(self, points: list[dict[str, Any]]) -> list[PlannedTrial]:
        """The trials of these points, which are under way from now on."""
        self._open = [_Point(p, [self._propose(cell, p) for cell in self._seeds]) for p in points]
        return [trial for point in self._open for trial in point.trials]

    def tell(self, results: Mapping[str, Result]) -> None:
        for point in self._open:
            ended = [results.get(trial.config_hash) for trial in point.trials]
            summaries = [result.summary for result in ended if result is not None]
            value, state = mean(self._config.metric, summaries), TrialState.COMPLETE
            if len(summaries) < len(ended):  # a trial raised: the point has no value
                value, state = None, TrialState.FAIL
            elif value is None:
                # For TPE worse than every point with a value, whatever the values' scale.
                state = TrialState.PRUNED
            params = {k: _to_param(self._config.space[k], v) for k, v in point.values.items()}
            self._ended.append(
                create_trial(
                    state=state, value=value, params=params, distributions=self._distributions
                )
            )
        self._open = []


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution of a dimension; of a choice, over the indices of its values."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(range(len(dimension.values)))
    log = dimension.scale == "log"
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=log)
    return FloatDistribution(dimension.low, dimension.high, log=log)


def _to_value(dimension: Dimension, param: Any) -> Any:
    """The value of a key that an Optuna parameter stands for."""
    if isinstance(dimension, Choice):
        return dimension.values[param]
    if dimension.integer:
        return param
    return min(max(short(param), dimension.low), dimension.high)


def _to_param(dimension: Dimension, value: Any) -> Any:
    """The Optuna parameter that stands for a value of a key."""
    return dimension.values.index(value) if isinstance(dimension, Choice) else value
