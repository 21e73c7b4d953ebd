"""Metrics of runs that are no part of a trial's summary."""

from sweeps.metrics.metric import SYSTEM, Metric

# Use of the machine by the process that trains, of trials that last `tracking.live_seconds`.
MACHINE = (
    Metric(
        f"{SYSTEM}cpu_utilization_percentage",
        "CPU use of the process that trains",
        "percent of one core",
    ),
    Metric(
        f"{SYSTEM}system_memory_usage_megabytes",
        "resident memory of the process that trains",
        "10^6 bytes",
    ),
    Metric(
        f"{SYSTEM}system_memory_usage_percentage",
        "resident memory of the process that trains, as a share of the machine's memory",
        "percent",
    ),
    Metric(f"{SYSTEM}gpu_I_utilization_percentage", "use of GPU I, by all processes", "percent"),
    Metric(
        f"{SYSTEM}gpu_I_memory_usage_megabytes",
        "memory of GPU I in use, by all processes",
        "10^6 bytes",
    ),
    Metric(
        f"{SYSTEM}gpu_I_memory_usage_percentage",
        "memory of GPU I in use, as a share of all its memory",
        "percent",
    ),
)
# Of a trial that early stopping ended, beside the others.
STOPPED = (
    Metric("train/stopped_at", "the step at which early stopping ended the trial", "GD step"),
)
# Of a sweep's own run, beside means over seeds named METRIC/CELL.
SWEEP = (
    Metric("sweep/trials", "trials of the sweep"),
    Metric("sweep/failed", "trials of the sweep that have no result"),
    Metric("sweep/reused", "trials of the sweep that were finished before it was launched"),
    Metric(
        "frontier/held/CELL",
        "search=frontier: value nearest to the boundary at which search.condition held",
    ),
    Metric(
        "frontier/failed/CELL",
        "search=frontier: value nearest to the boundary at which search.condition did not hold",
    ),
    Metric(
        "search/best/CELL",
        "search=optuna: best objective so far, against the number of points tried",
    ),
)
# Of a reproduction's run.
REPRODUCTION = (
    Metric(
        "reproduce/deviation",
        "greatest difference between the two runs, relative to the greatest value of its column",
    ),
)
