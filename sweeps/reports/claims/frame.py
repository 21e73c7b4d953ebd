"""Trials of a sweep as a frame for the checks, with columns that identify networks and kernels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.config.nested import flatten
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.claims.finding import WIDTH
from sweeps.reports.frames import metrics_frame
from sweeps.reports.networks import OF_DRAW, OF_KERNEL, OF_NETWORK, key_of

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

GOAL, ACTIVATION = "train.loss_tol", "model.activation"
ETA, UNIT = "train.eta", "train.eta_unit"
# Columns of the frame with d, and with n / d.
DIMENSION, RATIO = "data.d", "data.n / data.d"
SAMPLES, BIAS = "data.n", "data.bias"
# Columns that are True for networks of init=redraw, and for trials without momentum and batches.
REDRAWN, PLAIN = "redrawn", "plain"
# Statuses of trials that went wrong before what a claim is about could be seen.
WENT_WRONG = ("diverged", "ill_posed", "rejected")
# Columns that are equal in trials of one network, of one kernel, of the same random numbers.
NETWORK, KERNEL, DRAW = "network", "kernel", "draw"
# Column that is equal in networks that differ in their width and seed only.
ANY_WIDTH = "any width"
# Column that is equal in kernels that differ in n, d and the data's seed only.
ANY_SIZE = "any size"


def claims_frame(outcomes: Sequence[TrialOutcome], metrics: Sequence[str]) -> "DataFrame":
    """Metrics and columns of the trials that have a result and were not stopped early."""
    frame = metrics_frame(outcomes, metrics)
    plain = [flatten(outcome.planned.plain) for outcome in outcomes]
    for key in (WIDTH, GOAL, ACTIVATION, ETA, UNIT):
        frame[key] = [each.get(key) for each in plain]
    sizes = [{key: each.get(f"data.{key}") or 0 for key in ("d", "n")} for each in plain]
    frame[DIMENSION] = [each["d"] for each in sizes]
    frame[RATIO] = [each["n"] / each["d"] if each["d"] else 0.0 for each in sizes]
    frame[SAMPLES] = [each["n"] for each in sizes]
    frame[BIAS] = [each.get(BIAS) or 0.0 for each in plain]
    frame[REDRAWN] = [each.get("model.init") == "redraw" for each in plain]
    methods = [(each.get("train.momentum"), each.get("train.batch")) for each in plain]
    frame[PLAIN] = [not (beta or batch) for beta, batch in methods]
    frame[NETWORK] = [key_of(each, OF_NETWORK) for each in plain]
    frame[KERNEL] = [key_of(each, OF_KERNEL) for each in plain]
    frame[DRAW] = [key_of(each, OF_DRAW) for each in plain]
    frame[ANY_WIDTH] = [key_of(each, OF_NETWORK, WIDTH, "seed") for each in plain]
    of_size = ("data.d", "data.n", "data.seed")
    frame[ANY_SIZE] = [key_of(each, OF_KERNEL, *of_size) for each in plain]
    frame["status"] = [outcome.status for outcome in outcomes]
    frame["finished"] = [outcome.finished for outcome in outcomes]
    frame = frame.astype({REDRAWN: bool, PLAIN: bool, "finished": bool})
    kept: DataFrame = frame[frame["finished"] & ~frame["stopped"]]
    return kept


def each_once(frame: "DataFrame", key: str, *metrics: str) -> "DataFrame":
    """Return one row for each network, or kernel, that has all these metrics.

    Args:
        frame: see `claims_frame`.
        key: NETWORK or KERNEL.
        metrics: the metrics, which its trials have in common.
    """
    return frame.dropna(subset=list(metrics)).drop_duplicates(key)
