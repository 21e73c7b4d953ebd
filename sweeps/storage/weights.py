"""Files of trials' weights under an output root: who writes them, who misses them.

A worker writes a file before it says that the trial is done. The ledger's row names it, and
MLflow is sent it with the trial's run.
"""

import contextlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.config.early_stopping import STOPPED_AT
from sweeps.config.nested import one_line
from sweeps.storage.record import Record

if TYPE_CHECKING:
    import deq

FOLDER = "weights"
REMEDY = "--force trains it again"


def folder_of(output: Path) -> Path:
    """Folder of the weights under an output root; on a cluster, on storage of all nodes."""
    return (output / FOLDER).resolve()


def path_of(output: Path, record: Record) -> Path | None:
    """The file of a record's weights, where there is one."""
    path = folder_of(output) / record.weights
    return path if record.weights and path.is_file() else None


def save_weights(
    folder: Path | None, record: Record, course: "deq.Course"
) -> tuple[Record, list[str]]:
    """Write a trial's weights; the record that names them, and what is to be said of them.

    A result is worth more than its weights: where they cannot be written, it has none.
    """
    if folder is None:
        return record, []
    path = folder / _name(record)
    if course.weights is None:  # it had ended before its pack's checkpoint was written
        if path.is_file():
            return replace(record, weights=path.name), []
        return record, [f"its weights were not kept when it ended: {REMEDY}"]
    stamp = {"config_hash": record.config_hash, "status": record.status}
    try:
        import deq

        deq.save_weights(path, course.config, course.weights, stamp)
    except OSError as error:
        return record, [f"its weights were not written ({one_line(error)}): {REMEDY}"]
    course.weights = None  # a pack need not hold them until its last trial ends
    return replace(record, weights=path.name), []


def check_weights(folder: Path, record: Record) -> tuple[Record, list[str]]:
    """The record as this machine sees it, and what is to be said: a node may write elsewhere."""
    if not record.weights or (folder / record.weights).is_file():
        return record, []
    text = f"its weights are not in {folder}: the output root must be on storage of all nodes"
    return replace(record, weights=""), [text]


def delete_weights(folder: Path, hashes: Collection[str]) -> None:
    """Remove the weights of these trials, which are trained again."""
    for digest in hashes:
        for path in folder.glob(f"{digest}*"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _name(record: Record) -> str:
    """Two sweeps may stop a trial at different steps."""
    stopped = record.summary.get(STOPPED_AT)
    at = "" if stopped is None else f"-step-{int(stopped)}"
    return f"{record.config_hash}{at}.safetensors"
