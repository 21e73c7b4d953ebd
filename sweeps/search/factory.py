"""Creates the search of a launch, and computes the sweep's name."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sweeps.config.hashing import set_hash
from sweeps.config.launch import LaunchConfig
from sweeps.config.request import Request, updated_trial
from sweeps.config.space import Choice, Interval
from sweeps.planning.plan import PlannedTrial, trials_of
from sweeps.search.base import AllAtOnce, Search
from sweeps.search.registry import KINDS


def create_search(
    launch: LaunchConfig, cells: list[PlannedTrial], asked: Sequence[PlannedTrial] = ()
) -> Search:
    """Create a search that has not asked for trials yet.

    Args:
        launch: how to search.
        cells: the trials of a grid or a random search; of others, the cells to search in.
        asked: trials that an earlier launch of this sweep asked for, in their order.

    Raises:
        ConfigError: the largest trial that it may ask for does not fit into memory.
    """
    config = launch.search
    if not config.adaptive:
        return AllAtOnce(cells)
    propose = Proposer(launch, cells)
    largest = {key: d.high for key, d in config.space.items() if isinstance(d, Interval)}
    for cell in cells:
        propose(cell, largest)
    return KINDS[type(config)].create(config, cells, propose, asked)


def choice_trials(launch: LaunchConfig, cells: list[PlannedTrial]) -> list[PlannedTrial]:
    """A trial for every value that a search may choose, which workers must be able to load."""
    if not launch.search.adaptive:
        return []
    propose = Proposer(launch, cells)
    return [
        propose(cells[0], {key: value})
        for key, dimension in launch.search.space.items()
        if isinstance(dimension, Choice)
        for value in dimension.values
    ]


def sweep_name(launch: LaunchConfig, cells: list[PlannedTrial]) -> str:
    """Name of a sweep: 12 hex digits of a hash of its cells, search and early stopping."""
    parts = [cell.config_hash for cell in cells]
    if launch.search.adaptive:
        parts.append(json.dumps(asdict(launch.search), sort_keys=True))
    if launch.early_stopping.name != "none":
        parts.append(json.dumps(asdict(launch.early_stopping), sort_keys=True))
    return set_hash(parts)


class Proposer:
    """Makes the trials of a search's points."""

    def __init__(self, launch: LaunchConfig, cells: list[PlannedTrial]) -> None:
        """Prepare for the cells of a launch."""
        self._launch = launch
        self._keys = {*launch.search.space, *(key for cell in cells for key in cell.varying)}
        self._seen: dict[str, Any] = {}

    def __call__(self, cell: PlannedTrial, values: dict[str, Any]) -> PlannedTrial:
        """The trial of a cell with these values.

        Raises:
            ConfigError: a value is wrong, or the trial does not fit into memory.
        """
        varying = cell.varying | values
        composed = updated_trial(cell.plain, values, varying, self._launch.paths, self._seen)
        (trial,) = trials_of(Request(self._launch, [composed]), self._keys)
        return trial
