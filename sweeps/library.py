"""What scripts and notebooks import from `sweeps`. The door to pandas.

>>> import sweeps
>>> config = sweeps.compose(["model.width=64", "model.activation=tanh"])
>>> sweeps.config_hash(config)[:12]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import deq
from sweeps.config import PathsConfig, request
from sweeps.errors import ConfigError
from sweeps.plain import flattened

if TYPE_CHECKING:
    import pandas


def compose(overrides: Sequence[str] = ()) -> deq.TrialConfig:
    """The trial that these Hydra overrides mean, composed, resolved and checked.

    Raises:
        ConfigError: an override is wrong, or they mean more than one trial.
    """
    trials = request(overrides).trials
    if len(trials) > 1:
        raise ConfigError(
            f"{len(trials)} trials: compose gives one; name one value of each axis, "
            "or run them all with `sweeps run`"
        )
    return trials[0].trial


def load(sweep: str, *, output: str | Path | None = None) -> "pandas.DataFrame":
    """A sweep's trials, one row each: identity, status, config keys and summary metrics.

    Args:
        sweep: its name, or six or more digits of it.
        output: the output root it was launched under; that of the defaults when None.

    Returns:
        Columns trial, config_hash, cell_hash, status, error; config keys as
        `model.width`; metrics as `rate/measured`. NaN where there is none.

    Raises:
        ConfigError: no sweep, or more than one, begins so.
    """
    import pandas as pd

    from sweeps.run import lines_of

    root = PathsConfig(str(output)) if output else request(()).launch.paths
    rows = []
    for line in lines_of(sweep, Path(root.output)):
        p = line.planned
        row = {"trial": p.name, "config_hash": p.config_hash, "cell_hash": p.cell_hash}
        row |= {"status": line.status, "error": line.error}
        rows.append(row | flattened(p.plain) | line.summary)
    return pd.DataFrame(rows)
