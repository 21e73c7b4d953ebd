"""What the config group `search` says: which trials a sweep consists of."""

from dataclasses import dataclass, field
from typing import Literal

from sweeps.config.condition import STABLE, Condition, check_metric
from sweeps.config.space import Interval, Space

# A search whose space is larger than any machine would finish was mistyped.
MOST_SAMPLES = 100_000


@dataclass(frozen=True)
class GridConfig:
    """Every combination of the axes.

    Attributes:
        name: the search.
        space: empty: a grid draws from nothing.
    """

    name: Literal["grid"] = "grid"
    space: Space = field(default_factory=dict)


@dataclass(frozen=True)
class RandomConfig:
    """Points drawn from the space, the same in every cell of the grid.

    Attributes:
        name: the search.
        samples: how many points.
        seed: of the draws; more samples of one seed go on where fewer stopped.
        space: intervals and choices, by key; filled in from the axes.
    """

    name: Literal["random"] = "random"
    samples: int = 16
    seed: int = 0
    space: Space = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a count that draws nothing."""
        _check_samples(self.samples)


@dataclass(frozen=True)
class OptunaConfig:
    """Optuna's TPE, which proposes points near the best so far, in every cell of the grid.

    Attributes:
        name: the search.
        samples: how many points; each is tried with every seed of the grid.
        concurrent: how many are proposed before the results of any of them are known.
        metric: a summary metric; its mean over the seeds is the objective.
        mode: which way is better.
        seed: of the sampler.
        space: intervals and choices, by key; filled in from the axes.
    """

    name: Literal["optuna"] = "optuna"
    samples: int = 32
    concurrent: int = 4
    metric: str = "rate/measured"
    mode: Literal["min", "max"] = "max"
    seed: int = 0
    space: Space = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse counts that propose nothing, and a metric that no trial has."""
        _check_samples(self.samples)
        if self.concurrent < 1:
            raise ValueError(f"concurrent must be at least 1, not {self.concurrent}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0 .. 2**32 - 1, not {self.seed}")
        check_metric(self.metric)


@dataclass(frozen=True)
class FrontierConfig:
    """Bisection along one key, in every cell of the grid: where a condition ends to hold.

    Attributes:
        name: the search.
        condition: stable (neither diverged nor ill posed), or a metric compared with a
            number, as in "theory/slack_7 >= 1".
        tolerance: how narrow the interval that holds the frontier must become: its length
            on a linear scale, high / low - 1 on a logarithmic one. Whole numbers end one
            apart at the latest.
        space: the interval searched, by its key; filled in from the axes.
    """

    name: Literal["frontier"] = "frontier"
    condition: str = STABLE
    tolerance: float = 0.05
    space: Space = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no condition, and a tolerance that is never met."""
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be above 0, not {self.tolerance}")
        Condition.read(self.condition)

    @property
    def key(self) -> str:
        """The key that is searched along."""
        return next(iter(self.space))

    @property
    def interval(self) -> Interval:
        """Where."""
        found = self.space[self.key]
        assert isinstance(found, Interval)
        return found


SearchConfig = GridConfig | RandomConfig | OptunaConfig | FrontierConfig


def is_adaptive(config: SearchConfig) -> bool:
    """Whether what is trained next follows from results."""
    return not isinstance(config, GridConfig | RandomConfig)


def check_space(config: SearchConfig) -> None:
    """Raise ValueError unless the axes name what this search needs."""
    if isinstance(config, FrontierConfig):
        if len(config.space) != 1:
            raise ValueError(
                f"search=frontier bisects one interval, and the axes name {len(config.space)}: "
                "give one, as in 'train.eta=interval(0.5,4)'"
            )
    elif not isinstance(config, GridConfig) and not config.space:
        raise ValueError(
            f"search={config.name} draws from intervals and choices, and the axes name none: "
            "give one, as in 'train.eta=tag(log,interval(0.01,1))' or "
            "'model.activation=choice(relu,tanh)'"
        )


def _check_samples(samples: int) -> None:
    if not 1 <= samples <= MOST_SAMPLES:
        raise ValueError(f"samples must be in 1 .. {MOST_SAMPLES}, not {samples}")
