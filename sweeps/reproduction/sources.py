"""Sources that recorded trials are trained again on: data and own activations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.config.launch import LaunchConfig
from sweeps.config.places import Contents, Place, check_activations, check_data
from sweeps.driver.data_places import with_places
from sweeps.inspect.lookup import record_of
from sweeps.storage.ledger import reading
from sweeps.storage.output_root import LEDGER


def trainable(
    hashes: Sequence[str], launch: LaunchConfig, places: Sequence[Place], *, here: bool
) -> dict[str, dict[str, Any]]:
    """Return the configs of trials by config hash, with the places where their data lie now.

    Args:
        hashes: the first digits of each trial's hash.
        launch: launch config with the output root and the tracking.
        places: places of data that the command names.
        here: whether this process is to train them, and needs their own activations.

    Raises:
        ConfigError: a prefix names no trial or several, or the data or an activation of a trial
            are not there; nothing was started.
        TrackingError: MLflow cannot be reached.
    """
    output = Path(launch.paths.output)
    contents = Contents(output)
    records = [record_of(prefix, launch, steps=False) for prefix in hashes]
    plains = [record.config for record in records]
    if (output / LEDGER).exists():
        with reading(output / LEDGER) as ledger:
            plains = with_places(plains, places, contents, ledger)
    else:
        plains = with_places(plains, places, contents, None)
    check_data(plains, contents)
    if here:
        check_activations(plains)
    return {record.config_hash: plain for record, plain in zip(records, plains, strict=True)}
