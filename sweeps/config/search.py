"""Config group `search`: which trials a sweep consists of."""

import random
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from sweeps.config.condition import STABLE, Condition, check_metric
from sweeps.config.space import Interval, Space

# More samples than this are a typing error.
MOST_SAMPLES = 100_000


class BaseSearch:
    """Facts about a search that the config needs; a class of a search changes its own.

    Attributes:
        name: the search.
        space: intervals and choices, by key; filled in from the axes.
        adaptive: whether the next trials follow from results.
        takes_intervals: whether an axis may be an interval.
        takes_choices: whether it draws from `choice(...)`, which is a list for other searches.
        takes_stopped: whether a trial that early stopping cuts short is a result.
    """

    name: str
    space: Space
    adaptive: ClassVar[bool] = False
    takes_intervals: ClassVar[bool] = True
    takes_choices: ClassVar[bool] = False
    takes_stopped: ClassVar[bool] = True

    @property
    def points(self) -> list[dict[str, Any]]:
        """Points that it tries in every cell of the grid, known before anything is trained."""
        return [{}]

    def check_space(self) -> None:
        """Raise ValueError unless the axes have the intervals and choices that it needs."""
        if self.takes_intervals and not self.space:
            raise ValueError(
                f"search={self.name} draws from intervals and choices, and the axes name none: "
                "give one, as in 'train.eta=tag(log,interval(0.01,1))' or "
                "'model.activation=choice(relu,tanh)'"
            )


@dataclass(frozen=True)
class GridConfig(BaseSearch):
    """Grid search: every combination of the axes.

    Attributes:
        name: the search.
        space: always empty.
    """

    takes_intervals: ClassVar[bool] = False
    name: Literal["grid"] = "grid"
    space: Space = field(default_factory=dict)


@dataclass(frozen=True)
class RandomConfig(BaseSearch):
    """Random search: points drawn from the space, the same in every cell of the grid.

    Attributes:
        name: the search.
        samples: number of points.
        seed: seed of the draws; a larger search.samples begins with the same points.
        space: intervals and choices, by key; filled in from the axes.
    """

    takes_choices: ClassVar[bool] = True
    name: Literal["random"] = "random"
    samples: int = 16
    seed: int = 0
    space: Space = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the number of points."""
        _check_samples(self.samples)

    @property
    def points(self) -> list[dict[str, Any]]:
        """Random points, each with a value for every key of the space.

        Every key has its own stream of random numbers. So another dimension, or more samples,
        leave the values that were drawn before unchanged.
        """
        streams = {key: random.Random(f"{self.seed}/{key}") for key in self.space}  # noqa: S311
        return [
            {key: dimension.at(streams[key].random()) for key, dimension in self.space.items()}
            for _ in range(self.samples)
        ]


@dataclass(frozen=True)
class OptunaConfig(BaseSearch):
    """Optuna's TPE, which proposes points near the best so far, in every cell of the grid.

    Attributes:
        name: the search.
        samples: number of points; each is tried with every seed of the grid.
        concurrent: points in a round: they are proposed before any of them has a result.
        metric: summary metric whose mean over the seeds is the objective.
        mode: whether to minimize or maximize the mean of search.metric over the seeds.
        seed: seed of Optuna's sampler.
        space: intervals and choices, by key; filled in from the axes.
    """

    adaptive: ClassVar[bool] = True
    takes_choices: ClassVar[bool] = True
    name: Literal["optuna"] = "optuna"
    samples: int = 32
    concurrent: int = 4
    metric: str = "rate/measured"
    mode: Literal["min", "max"] = "max"
    seed: int = 0
    space: Space = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate counts, seed and metric."""
        _check_samples(self.samples)
        if self.concurrent < 1:
            raise ValueError(f"concurrent must be at least 1, not {self.concurrent}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0 .. 2**32 - 1, not {self.seed}")
        check_metric(self.metric)


@dataclass(frozen=True)
class FrontierConfig(BaseSearch):
    """Bisection along one key, in every cell of the grid: finds where a condition stops to hold.

    Attributes:
        name: the search.
        condition: stable (neither diverged nor ill posed), or a metric compared with a
            number, as in "theory/slack_7 >= 1".
        tolerance: width at which the bisection ends: high - low on a linear scale,
            high / low - 1 on a logarithmic one; for whole numbers 1 at the least.
        space: the interval, by its key; filled in from the axes.
    """

    adaptive: ClassVar[bool] = True
    takes_stopped: ClassVar[bool] = False
    name: Literal["frontier"] = "frontier"
    condition: str = STABLE
    tolerance: float = 0.05
    space: Space = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate condition and tolerance."""
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be above 0, not {self.tolerance}")
        Condition.read(self.condition)

    def check_space(self) -> None:
        """Raise ValueError unless the axes have one interval."""
        if len(self.space) != 1:
            raise ValueError(
                f"search=frontier bisects one interval, and the axes name {len(self.space)}: "
                "give one, as in 'train.eta=interval(0.5,4)'"
            )

    @property
    def key(self) -> str:
        """Key that is varied."""
        return next(iter(self.space))

    @property
    def interval(self) -> Interval:
        """Interval that is searched."""
        interval = self.space[self.key]
        assert isinstance(interval, Interval)
        return interval


SearchConfig = GridConfig | RandomConfig | OptunaConfig | FrontierConfig


# By name, as typed in `search=NAME`.
SEARCHES: dict[str, type[BaseSearch]] = {kind.name: kind for kind in get_args(SearchConfig)}


def _check_samples(samples: int) -> None:
    if not 1 <= samples <= MOST_SAMPLES:
        raise ValueError(f"samples must be in 1 .. {MOST_SAMPLES}, not {samples}")
