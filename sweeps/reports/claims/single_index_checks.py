"""Checks of the claims about conserved quantities and single-index DEQs."""

from typing import TYPE_CHECKING

import deq
from sweeps.reports.claims.finding import (
    COARSE,
    NEAR,
    NOT_TESTED,
    Check,
    Finding,
    exponent_of,
    joint,
    no_exponent,
)
from sweeps.reports.claims.frame import ACTIVATION, BIAS, NETWORK, PLAIN, WENT_WRONG
from sweeps.reports.spread import between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

SPHERE, CIRCLE = "theory/sphere_drift", "theory/sphere_drift_output"
RATE, DISTANCE = "rate/measured_end_over_single_index", "theory/minimum_distance"
MOVED, STEP = "train/distance", "train/eta"
METRICS = (SPHERE, CIRCLE, RATE, DISTANCE, MOVED, STEP)
# Activations whose gradient flow conserves both spheres.
CONSERVING = ("identity", "relu")


def conserved(metric: str) -> Check:
    """Return a check whether a conserved quantity changes in proportion to eta.

    One exponent is fitted; each network has a law of its own. Trials count that reached
    train.loss_tol by plain gradient descent: after a fixed number of steps the change depends on
    eta in another way.

    Args:
        metric: relative change of the quantity, SPHERE or CIRCLE; CIRCLE counts single-index
            DEQs only.
    """

    def check(frame: "DataFrame") -> Finding:
        rows = frame[frame[ACTIVATION].isin(CONSERVING) & (frame["status"] == "converged")]
        rows = rows[rows[PLAIN] & (rows[metric] > 0)]
        if metric == CIRCLE:
            rows = rows[rows[DISTANCE].notna()]
        drift = rows[metric]
        if rows.groupby(NETWORK)[STEP].nunique().max() < 2 or rows.empty:
            return NOT_TESTED
        law = deq.power_law(rows[STEP].tolist(), drift.tolist(), rows[NETWORK].tolist())
        if law is None or law.margin > COARSE:
            return no_exponent(len(rows), law, "eta", "trials")
        text = (
            f"relative change {short(drift.min())} to {short(drift.max())}, which falls as "
            f"{exponent_of(law, 'eta')}"
        )
        return joint(len(rows), abs(law.exponent - 1) <= max(law.margin, NEAR), text)

    return check


def minimum(frame: "DataFrame") -> Finding:
    """Check whether trials reach the predicted minimum at the predicted rate, each by itself.

    A network without an active sample never moves. With biases 0 is outside the inputs' convex
    hull, and nothing is proven.
    """
    able = frame[frame[DISTANCE].notna() & ~frame["status"].isin(WENT_WRONG)]
    able = able[(able[MOVED] > 0) & (able[BIAS] == 0)]
    reached = able[able["status"] == "converged"].dropna(subset=[RATE])
    if reached.empty:
        return NOT_TESTED
    rate, moved = reached[RATE], reached[MOVED] / reached[DISTANCE]
    near = ((rate - 1).abs() <= NEAR) & ((moved - 1).abs() <= NEAR)
    text = (
        f"reached by {len(reached)}; measured over predicted: final rate "
        f"{between(rate.min(), rate.max())}, distance moved {between(moved.min(), moved.max())}"
    )
    return Finding(len(able), int(near.sum()), text)
