"""From a launch and the cells of its grid to the search of them, and the sweep's name."""

import json
from dataclasses import asdict
from typing import Any

from sweeps.config.hashing import set_hash
from sweeps.config.request import LaunchConfig, Request, updated_trial
from sweeps.config.search import FrontierConfig, OptunaConfig, is_adaptive
from sweeps.config.space import Choice, Interval
from sweeps.planning.plan import PlannedTrial, trials_of
from sweeps.search.base import AllAtOnce, Search
from sweeps.search.bisection import Bisection


def create_search(launch: LaunchConfig, cells: list[PlannedTrial]) -> Search:
    """The search of these cells, from its beginning.

    Args:
        launch: how to search.
        cells: of a grid or a random search its trials; else what is searched for each.

    Raises:
        ConfigError: the largest trial it may ask for cannot fit where it is to run.
    """
    config = launch.search
    if not is_adaptive(config):
        return AllAtOnce(cells)
    propose = Proposer(launch, cells)
    largest = {key: d.high for key, d in config.space.items() if isinstance(d, Interval)}
    for cell in cells:
        propose(cell, largest)
    if isinstance(config, FrontierConfig):
        return Bisection(config, cells, propose)
    assert isinstance(config, OptunaConfig)
    from sweeps.search.optuna import Tpe  # slow to import: for who asks for it

    return Tpe(config, cells, propose)


def choice_trials(launch: LaunchConfig, cells: list[PlannedTrial]) -> list[PlannedTrial]:
    """A trial of every value that a search may choose: what workers must be able to load."""
    if not is_adaptive(launch.search):
        return []
    propose = Proposer(launch, cells)
    return [
        propose(cells[0], {key: value})
        for key, dimension in launch.search.space.items()
        if isinstance(dimension, Choice)
        for value in dimension.values
    ]


def sweep_name(launch: LaunchConfig, cells: list[PlannedTrial]) -> str:
    """What a sweep is known by: its trials, or what they follow from; 12 hex digits."""
    parts = [cell.config_hash for cell in cells]
    if is_adaptive(launch.search):
        parts.append(json.dumps(asdict(launch.search), sort_keys=True))
    if launch.early_stopping.name != "none":
        parts.append(json.dumps(asdict(launch.early_stopping), sort_keys=True))
    return set_hash(parts)


class Proposer:
    """Makes the trials of points that a search names."""

    def __init__(self, launch: LaunchConfig, cells: list[PlannedTrial]) -> None:
        """Propose trials of a sweep that searches these cells."""
        self._launch = launch
        self._keys = {*launch.search.space, *(key for cell in cells for key in cell.varying)}
        self._seen: dict[str, Any] = {}

    def __call__(self, cell: PlannedTrial, values: dict[str, Any]) -> PlannedTrial:
        """The trial of a cell with these values.

        Raises:
            ConfigError: there is no such trial, or it cannot fit where it is to run.
        """
        varying = cell.varying | values
        composed = updated_trial(cell.plain, values, varying, self._launch.paths, self._seen)
        (trial,) = trials_of(Request(self._launch, [composed]), self._keys)
        return trial
