"""Figures: one file each; `style` is the door to matplotlib.

They are imported when something is drawn: by then it is known where matplotlib's caches go.
"""

import importlib
from collections.abc import Callable
from typing import get_args

from sweeps.config.launch import Figure
from sweeps.reports.figures.study import Study

__all__ = ["FIGURES", "Study"]


def _drawer(module: str) -> Callable[[Study], bytes]:
    """The `draw` of a module of this folder, which is imported by the first call."""

    def draw(study: Study) -> bytes:
        drawn: bytes = importlib.import_module(f"sweeps.reports.figures.{module}").draw(study)
        return drawn

    return draw


# By the name that an experiment gives in its key `figure`.
FIGURES = {name: _drawer(name) for name in get_args(Figure)}
