"""The door to pandas of the reports: metrics of trials as a frame, trajectories as series."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.config.early_stopping import STOPPED
from sweeps.planning.outcomes import TrialOutcome, seed_groups
from sweeps.storage.record import Columns

if TYPE_CHECKING:
    from pandas import DataFrame as DataFrame  # noqa: PLC0414
    from pandas import Series as Series  # noqa: PLC0414

MEASURED, LINEARIZED = "rate/measured", "rate/linearized"
OVER_LINEARIZED = "rate/measured_over_linearized"
# A linearised rate below this share of the measured one is zero up to rounding.
NO_RATE = 1e-6


def metrics_frame(outcomes: Sequence[TrialOutcome], metrics: Sequence[str]) -> "DataFrame":
    """One row for each trial: the metrics (NaN if absent) and these columns.

    `cell`: hash of the config without the seed; `group`: name of the group of seeds;
    `stopped`: True for a trial that was stopped early.
    """
    import pandas as pd

    frame = pd.DataFrame([x.summary for x in outcomes], columns=list(metrics), dtype=float)
    names = {g.outcomes[0].planned.cell_hash: g.name for g in seed_groups(outcomes)}
    frame["cell"] = [x.planned.cell_hash for x in outcomes]
    frame["group"] = [names[x.planned.cell_hash] for x in outcomes]
    frame["stopped"] = pd.Series([x.status == STOPPED for x in outcomes], dtype=bool)
    return frame


def has_linearised_rate(frame: "DataFrame") -> "Series[bool]":
    """Return a mask of the trials whose measured rate can be divided by the linearised one.

    That is, whose linearised model converges.
    """
    converges = frame[LINEARIZED] > NO_RATE * frame[MEASURED].abs()
    usable: Series[bool] = converges & frame[OVER_LINEARIZED].notna()
    return usable


def measured(columns: Columns, name: str) -> "Series[float]":
    """Finite values of a trajectory's column; the index is the GD step."""
    import pandas as pd

    values = columns.get(name) or [None] * len(columns["step"])
    series = pd.Series(values, index=columns["step"], dtype=float)
    return series[series.abs() < math.inf]
