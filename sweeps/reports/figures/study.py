"""Data of the figures: a sweep's finished trials and their trajectories."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.config.nested import flatten
from sweeps.config.search import GridConfig, SearchConfig
from sweeps.planning.outcomes import TrialOutcome, group_by_others, labels_of, seed_groups
from sweeps.planning.plan import main_axis
from sweeps.reports.spread import evenly
from sweeps.storage.record import Columns

# Most curves in one panel.
MAX_CURVES = 10
# With more series than this, all trials are drawn as one series.
MAX_SERIES = 20


@dataclass(frozen=True)
class Study:
    """The finished trials of a sweep.

    Attributes:
        outcomes: outcome of each trial.
        trajectory: function from a config hash to the trial's columns of steps; None if this
            machine does not have them.
        search: settings of the search.
    """

    outcomes: Sequence[TrialOutcome]
    trajectory: Callable[[str], Columns | None]
    search: SearchConfig = field(default_factory=GridConfig)

    @functools.cached_property
    def axis(self) -> str:
        """The key with the most numbers, except the seed; model.width if there is none."""
        return main_axis([x.planned.varying for x in self.outcomes]) or "model.width"

    def groups(self, *keys: str) -> dict[str, list[TrialOutcome]]:
        """Trials by the values of these keys, sorted by them."""
        groups: dict[tuple[Any, ...], list[TrialOutcome]] = {}
        for x in self.outcomes:
            groups.setdefault(tuple(value(x, key) for key in keys), []).append(x)
        order = sorted(groups, key=lambda parts: [(isinstance(p, str), p) for p in parts])
        return {" ".join(f"{part}" for part in parts): groups[parts] for parts in order}

    def others(self, axis: str, each: int = 1) -> list[tuple[str, list[TrialOutcome]]]:
        """(name, trials) by the varying keys except the axis and the seed.

        If they would make more than MAX_SERIES series, as in a random search, they become one,
        named "all".

        Args:
            axis: the key that the names leave out.
            each: number of series that each group makes.
        """
        groups, labels = group_by_others(self.outcomes, axis, "seed"), labels_of(self.outcomes)
        if len(groups) * each > MAX_SERIES:
            return [("all", list(self.outcomes))]
        return [
            (labels(rest) if rest else str(value(outcomes[0], "model.activation")), outcomes)
            for rest, outcomes in groups
        ]

    def first_of_groups(self) -> tuple[list[tuple[str, TrialOutcome]], int]:
        """Name and first trial of at most MAX_CURVES groups of seeds, and the number of groups."""
        groups = seed_groups(self.outcomes)
        return [(g.name, g.outcomes[0]) for g in evenly(groups, MAX_CURVES)], len(groups)


def value(outcome: TrialOutcome, key: str) -> Any:
    """A trial's value of a config key, as the sweep states it.

    The trial's config may state it in another form: train.batch = n is stored as null.
    """
    return outcome.planned.varying.get(key, flatten(outcome.planned.plain).get(key))


def leaf(key: str) -> str:
    """Last part of a dotted key."""
    return key.rsplit(".", 1)[-1]


def means(outcomes: Sequence[TrialOutcome], key: str, metric: str) -> list[tuple[float, float]]:
    """Return (config value, mean of a metric over seeds) of each group of seeds, sorted.

    Args:
        outcomes: the trials.
        key: the config key.
        metric: the metric; groups without it are left out.
    """
    group_means = [(group.outcomes[0], group.mean(metric)) for group in seed_groups(outcomes)]
    return sorted((float(value(x, key)), mean.value) for x, mean in group_means if mean)


def pairs(outcomes: Iterable[TrialOutcome], key: str, metric: str) -> list[tuple[float, float]]:
    """Return (config value, metric) of each trial that has the metric, sorted.

    Args:
        outcomes: the trials.
        key: the config key.
        metric: the metric.
    """
    return sorted(
        (float(value(x, key)), x.summary[metric]) for x in outcomes if metric in x.summary
    )
