"""Trials with chosen metrics, and what they show of a claim of the theory."""

from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.reports.claims import CLAIMS, METRICS, claims_frame, score

BY_NAME = {claim.name: claim for claim in CLAIMS}


def trial(
    summary,
    width=64,
    loss_tol=0.0,
    status="budget",
    seed=0,
    activation="tanh",
    data=None,
    eta=0.5,
    init="normal",
    **train,
):
    """The outcome of a trial with these metrics."""
    plain = {
        "model": {"width": width, "activation": activation, "init": init},
        "train": {"loss_tol": loss_tol, "eta": eta, "eta_unit": "tangent"} | train,
        "data": data or {"n": 8},
        "seed": seed,
    }
    digest = f"{width}-{seed}-{len(summary)}"
    varying = {"model.width": width, "seed": seed, "train.eta": eta}
    planned = PlannedTrial(digest, str(width), digest, varying, plain, 0, 1)
    return TrialOutcome(planned, status, summary)


def finding(name, *trials):
    """Return the finding of a claim for these trials."""
    return score(BY_NAME[name], claims_frame(trials, METRICS)).finding
