"""Artifacts and tags of a trial's run in MLflow."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from sweeps.config.yaml_text import to_yaml
from sweeps.storage.record import Record

CONFIG, TRAJECTORY, ENVIRONMENT = "config.yaml", "trajectory.parquet", "environment.json"
FIGURE, WEIGHTS = "theory_vs_measurement.png", "weights.safetensors"
FILES = (CONFIG, TRAJECTORY, ENVIRONMENT)
# Content of a trial's run besides metrics and params.
ARTIFACTS = {
    CONFIG: "the resolved trial config, enough to run it again",
    TRAJECTORY: "every recorded step, one column for each quantity",
    ENVIRONMENT: "versions, hardware, threads, the code's commit and its uncommitted changes",
    FIGURE: "loss against the GD step: measured, linearised at t = 0, the theorem's bound "
    "(guaranteed where (7) to (10) hold)",
    WEIGHTS: "with `record.weights=true`: W, U and a as training left them",
}
STOPPED_BY = "sweeps.stopped_by"
TAGS = {
    "sweeps.kind": "trial, sweep (the parent run) or reproduction",
    "sweeps.config_hash": "the trial's identity, 64 hex digits",
    "sweeps.cell_hash": "the trial's identity without its seed, 64 hex digits: it groups repeats",
    "sweeps.sweep": "name of the sweep that recorded the run",
    "sweeps.status": "converged, budget, diverged, ill_posed, stalled, rejected, or stopped early",
    "sweeps.reason": "one sentence on why the trial ended with its status",
    "sweeps.version": "version of deq-sweeps",
    "sweeps.device": "device that the trial trained on: cpu or cuda",
}
# Tags that only some runs have.
OTHER_TAGS = {
    "sweeps.early_stopped": "true where early stopping ended the trial",
    "sweeps.early_stopped_step": "the GD step at which early stopping ended the trial",
    STOPPED_BY: "the person who stopped the sweep or the trial by `sweeps stop`",
    "sweeps.weights": "the artifact that holds the trial's weights, where they were kept",
    "sweeps.lease": "on a sweep: until when its driver is taken to be alive, seconds since 1970",
    "sweeps.host": "on a sweep: its driver's machine",
    "sweeps.closed": "on a sweep whose driver died: who closed its run",
    "sweeps.reproduces": "on a reproduction: id of the run that it repeats",
    "sweeps.verdict": "on a reproduction: identical, equal or different",
}


def files_of(*, weights: bool) -> list[str]:
    """Return the artifacts that a trial's run must have."""
    return [*FILES, WEIGHTS] if weights else list(FILES)


def write_artifacts(
    record: Record, folder: Path, figure: bytes = b"", weights: Path | None = None
) -> None:
    """Write a trial's artifacts into a folder.

    Args:
        record: the trial.
        folder: the folder.
        figure: its figure (PNG); drawn now if it is empty.
        weights: file of its weights, if they were kept.
    """
    (folder / CONFIG).write_text(to_yaml(record.config))
    (folder / TRAJECTORY).write_bytes(record.parquet())
    (folder / ENVIRONMENT).write_text(record.environment_json())
    if weights:
        _link_or_copy(weights, folder / WEIGHTS)
    if record.trajectory["loss"]:
        (folder / FIGURE).write_bytes(figure or _draw_figure(record))


def _draw_figure(record: Record) -> bytes:
    from sweeps.reports.figures import trial  # imports matplotlib

    return trial.draw(record)


def _link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link to a large file; copy it if the disk does not allow links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def all_in(folder: Path, files: Collection[str]) -> bool:
    """Return whether a folder holds all of these artifacts."""
    return all((folder / name).is_file() for name in files)
