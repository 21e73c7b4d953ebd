"""Figures of a study, one module each; `style` is the door to matplotlib.

A figure's module is imported when it is first drawn, after the folder for matplotlib's caches
has been set.
"""

import importlib
from collections.abc import Callable
from typing import get_args

from sweeps.config.launch import Figure
from sweeps.reports.figures.study import Study

__all__ = ["FIGURES", "Study"]


def _drawer(module: str) -> Callable[[Study], bytes]:
    """Return the `draw` function of a module of this folder; the first call imports it."""

    def draw(study: Study) -> bytes:
        png: bytes = importlib.import_module(f"sweeps.reports.figures.{module}").draw(study)
        return png

    return draw


# By the names that the config key `figure` takes.
FIGURES = {name: _drawer(name) for name in get_args(Figure)}
