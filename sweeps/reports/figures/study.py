"""What a figure is drawn from: a sweep's finished trials and their trajectories."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.config.nested import flatten
from sweeps.config.search import GridConfig, SearchConfig
from sweeps.planning.outcomes import TrialOutcome, group_by_others, labels_of, seed_groups
from sweeps.planning.plan import main_axis
from sweeps.storage.record import Columns

# More curves than this in one panel are no longer told apart.
MOST_CURVES = 10
# And of more series than this the trials are drawn as one.
MOST_SERIES = 20


@dataclass(frozen=True)
class Study:
    """The finished trials of a sweep.

    Attributes:
        lines: what came of each.
        trajectory: columns of a trial's every step, by config hash; None where this
            machine does not hold them.
        search: what it looked for, and where.
    """

    lines: Sequence[TrialOutcome]
    trajectory: Callable[[str], Columns | None]
    search: SearchConfig = field(default_factory=GridConfig)

    @functools.cached_property
    def axis(self) -> str:
        """The key with the most different numbers, the seed aside; model.width otherwise."""
        return main_axis([line.planned.varying for line in self.lines]) or "model.width"

    def groups(self, *keys: str) -> dict[str, list[TrialOutcome]]:
        """Lines by the values of these keys, sorted by them."""
        found: dict[tuple[Any, ...], list[TrialOutcome]] = {}
        for line in self.lines:
            found.setdefault(tuple(value(line, key) for key in keys), []).append(line)
        order = sorted(found, key=lambda parts: [(isinstance(p, str), p) for p in parts])
        return {" ".join(f"{part}" for part in parts): found[parts] for parts in order}

    def others(self, axis: str) -> list[tuple[str, list[TrialOutcome]]]:
        """Lines by all that varies but the axis and the seed, under a readable name.

        All as one, "all", where there are too many to tell apart, as in a random search.
        """
        found, labels = group_by_others(self.lines, axis, "seed"), labels_of(self.lines)
        if len(found) > MOST_SERIES:
            return [("all", list(self.lines))]
        return [
            (labels(rest) if rest else str(value(lines[0], "model.activation")), lines)
            for rest, lines in found
        ]

    def first_of_groups(self) -> list[tuple[str, TrialOutcome]]:
        """Name and one trial of each cell, at most MOST_CURVES of them, spread over all."""
        found = seed_groups(self.lines)
        if len(found) > MOST_CURVES:
            last = len(found) - 1
            found = [found[round(i * last / (MOST_CURVES - 1))] for i in range(MOST_CURVES)]
        return [(cell.name, cell.lines[0]) for cell in found]


def value(line: TrialOutcome, key: str) -> Any:
    """A trial's value of a config key."""
    return flatten(line.planned.plain).get(key)


def leaf(key: str) -> str:
    """The last part of a dotted key."""
    return key.rsplit(".", 1)[-1]


def means(lines: Sequence[TrialOutcome], key: str, metric: str) -> list[tuple[float, float]]:
    """(config value, mean of a metric over seeds) of the cells that have one, sorted."""
    found = [(cell.lines[0], cell.mean(metric)) for cell in seed_groups(lines)]
    return sorted((float(value(line, key)), mean.value) for line, mean in found if mean)


def pairs(lines: Iterable[TrialOutcome], key: str, metric: str) -> list[tuple[float, float]]:
    """(config value, metric) of the trials that have both, sorted."""
    return sorted(
        (float(value(line, key)), line.summary[metric]) for line in lines if metric in line.summary
    )
