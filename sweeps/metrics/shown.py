"""Metrics that tables and charts show, and one heading for each, the same everywhere."""

from collections.abc import Iterable

from sweeps.metrics.theory import SLACKS

HEADINGS = {
    "rate/measured": "measured rate",
    "rate/linearized": "linearised rate",
    "rate/asymptotic": "asymptotic rate",
    "rate/population": "population rate",
    "rate/bound": "bound if (7)-(10)",
    "rate/measured_over_linearized": "measured/linearised",
    "rate/measured_over_bound": "measured/bound",
    "theory/lambda_0_over_m": "lambda_0/m",
    "theory/lambda_star": "lambda_*",
    "theory/lambda_star_error": "error of lambda_*",
    "theory/delta": "delta",
    "theory/lambda_ratio_min": "least lambda_t/lambda_0",
    "theory/gram_error": "||G(0)/m - K||_F",
    "train/eta": "eta",
    "time/seconds": "seconds",
} | {metric: f"slack {condition}" for condition, metric in SLACKS.items()}

# The table at the end of `sweeps run` and of `sweeps show SWEEP`.
OF_TRIALS = (
    "rate/measured",
    "rate/linearized",
    "rate/bound",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
    "time/seconds",
)
# The first two tables of `sweeps theory`.
OF_NETWORKS = (
    *SLACKS.values(),
    "theory/delta",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
    "theory/lambda_star_error",
)
OF_FORECASTS = (
    "rate/bound",
    "rate/population",
    "rate/linearized",
    "rate/asymptotic",
    "train/eta",
)
# The report's table of means over seeds, and the choices for an axis of its charts.
OF_SEEDS = (
    "rate/measured",
    "rate/measured_over_linearized",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
)
ON_AXES = (
    "rate/measured",
    "rate/linearized",
    "rate/asymptotic",
    "rate/population",
    "rate/bound",
    "rate/measured_over_linearized",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
    "theory/lambda_ratio_min",
    "theory/gram_error",
    *SLACKS.values(),
)
# MLflow: the table of a sweep's trials, and on the sweep's page the means in its description and
# the curves of its charts.
OF_TRIALS_IN_MLFLOW = (
    "rate/measured_over_linearized",
    "rate/measured",
    "rate/linearized",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
    "time/seconds",
)
OF_SEEDS_IN_MLFLOW = (
    "rate/measured",
    "rate/measured_over_linearized",
    "rate/measured_over_bound",
)
CURVES_IN_MLFLOW = (
    "rate/measured",
    "rate/linearized",
    "rate/bound",
    "rate/measured_over_linearized",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
)


def headings(metrics: Iterable[str]) -> list[str]:
    """Return the headings of metrics, in their order."""
    return [HEADINGS[metric] for metric in metrics]
