"""Types of a recorded number: a metric, and a column of a trajectory."""

from dataclasses import dataclass

# Prefix of metrics of a machine's use.
SYSTEM = "system/"
RATE, FLAG, NATS = "nats / GD step", "0 or 1", "nats"


@dataclass(frozen=True)
class Metric:
    """A number of a finished trial.

    Attributes:
        name: in MLflow.
        meaning: its definition.
        unit: empty for a pure number.
        work: True if it counts the solver's work and is no result; see `Column`.
        scale: the metric whose size a difference between two runs is compared with, for a
            metric that can be as small as rounding; "1" for the number 1; empty for itself.
    """

    name: str
    meaning: str
    unit: str = ""
    work: bool = False
    scale: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a trial's trajectory, one value for each GD step.

    Attributes:
        name: in `trajectory.parquet`.
        meaning: its definition.
        metric: the step metric in MLflow; empty where the column is in the file only.
        work: whether it describes the computation and not its result. Rounding changes such a
            column: a residual of 1e-9 has few exact digits, and a sample near the tolerance
            may take one map more.
    """

    name: str
    meaning: str
    metric: str = ""
    work: bool = False
