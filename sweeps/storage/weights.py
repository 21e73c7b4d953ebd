"""Files of trials' weights under an output root.

A worker writes the file before it reports the trial as done. The ledger's record names the
file, and MLflow receives it with the trial's run.
"""

import contextlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.config.early_stopping import STOPPED_AT
from sweeps.config.texts import one_line
from sweeps.storage.record import Record

if TYPE_CHECKING:
    import deq

FOLDER = "weights"
REMEDY = "--force trains it again"


def folder_of(output: Path) -> Path:
    """Folder of the weights under an output root; on a cluster, all nodes share it."""
    return (output / FOLDER).resolve()


def path_of(output: Path, record: Record) -> Path | None:
    """File of a record's weights; None where there is none."""
    path = folder_of(output) / record.weights
    return path if record.weights and path.is_file() else None


def save_weights(
    folder: Path | None, record: Record, run: "deq.TrainingRun"
) -> tuple[Record, list[str]]:
    """Write a trial's weights.

    A disk error costs the weights only: the result is recorded without them.

    Args:
        folder: where to write; None where weights are not kept.
        record: the trial's result.
        run: the trained trial; its weights are released.

    Returns:
        The record, which names the file, and messages for the user.
    """
    if folder is None:
        return record, []
    path = folder / _name(record)
    if run.weights is None:  # it ended before its pack's checkpoint was written
        if path.is_file():
            return replace(record, weights=path.name), []
        return record, [f"its weights were not kept when it ended: {REMEDY}"]
    stamp = {"config_hash": record.config_hash, "status": record.status}
    try:
        import deq

        deq.save_weights(path, run.config, run.weights, stamp)
    except OSError as error:
        return record, [f"its weights were not written ({one_line(error)}): {REMEDY}"]
    run.weights = None  # free them before the pack's last trial ends
    return replace(record, weights=path.name), []


def check_weights(folder: Path, record: Record) -> tuple[Record, list[str]]:
    """Check on the driver's machine that the file of a record's weights is there.

    Returns:
        The record, without weights where the file is missing, and messages for the user.
    """
    if not record.weights or (folder / record.weights).is_file():
        return record, []
    text = f"its weights are not in {folder}: the output root must be on storage of all nodes"
    return replace(record, weights=""), [text]


def delete_weights(folder: Path, hashes: Collection[str]) -> None:
    """Remove the weights of these trials."""
    for digest in hashes:
        delete_files(folder, {path.name for path in folder.glob(f"{digest}*")})


def delete_files(folder: Path, names: Collection[str]) -> None:
    """Remove these files of weights; one that is gone, or cannot be removed, is passed over."""
    for name in names:
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _name(record: Record) -> str:
    """File name; with the step, since two sweeps may stop a trial at different steps."""
    stopped_at = record.summary.get(STOPPED_AT)
    suffix = "" if stopped_at is None else f"-step-{int(stopped_at)}"
    return f"{record.config_hash}{suffix}.safetensors"
