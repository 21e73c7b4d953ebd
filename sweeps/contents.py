"""What a trial's run in MLflow holds: thinned step metrics and artifacts."""

from pathlib import Path

from sweeps import figures
from sweeps.pages import Point
from sweeps.plain import to_yaml
from sweeps.record import Record

POINTS = 200  # of a step metric in one run
CONFIG, TRAJECTORY, ENVIRONMENT = "config.yaml", "trajectory.parquet", "environment.json"
FILES = (CONFIG, TRAJECTORY, ENVIRONMENT)
STEP_METRICS = {
    "loss": "train/loss",
    "residual": "train/residual",
    "grad_norm": "train/grad_norm",
    "lambda_min_gram": "spectrum/lambda_min_gram",
    "lambda_min_tangent": "spectrum/lambda_min_tangent",
    "norm_w": "spectrum/norm_w",
    "forward_steps": "solver/forward_steps",
    "adjoint_steps": "solver/adjoint_steps",
}
STEPPED = set(STEP_METRICS.values())


def step_points(trajectory: dict[str, list[float | None]]) -> list[Point]:
    """The step metrics, each at most `POINTS` long, first and last step included."""
    steps = [int(step or 0) for step in trajectory["step"]]
    points: list[Point] = []
    for column, key in STEP_METRICS.items():
        known = [(t, v) for t, v in zip(steps, trajectory[column], strict=True) if v is not None]
        stride = -(-len(known) // POINTS)
        kept = known[::stride] if stride > 1 else known
        if known and kept[-1] != known[-1]:
            kept = [*kept[: POINTS - 1], known[-1]]
        points += [Point(key, value, step) for step, value in kept]
    return points


def time_of(record: Record, step: int) -> int:
    """When a step was, so that sending it again sends the same point."""
    last = len(record.trajectory["step"]) or 1
    return record.started + (record.finished - record.started) * min(step, last) // last


def write_artifacts(record: Record, folder: Path, figure: bytes = b"") -> None:
    """The resolved config, every recorded step, the environment, and the figure.

    The figure is drawn here when its worker sent none.
    """
    (folder / CONFIG).write_text(to_yaml(record.config))
    (folder / TRAJECTORY).write_bytes(record.parquet())
    (folder / ENVIRONMENT).write_text(record.environment_json())
    if record.trajectory["loss"]:
        (folder / "theory_vs_measurement.png").write_bytes(figure or figures.trial.draw(record))
