"""Trials of a sweep that need attention: failures, divergence, violations, missing rates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.config.early_stopping import STOPPED, STOPPED_AT
from sweeps.planning.outcomes import MISSING, TrialOutcome, number

# Texts for the count of each kind of remark: for one trial, for several.
KINDS = {
    "contradiction": (
        "exceeds the bound although conditions (7) to (10) hold, which contradicts the theorem",
        "exceed the bound although conditions (7) to (10) hold, which contradicts the theorem",
    ),
    "failed": ("failed", "failed"),
    "missing": ("has not run", "have not run"),
    "diverged": ("diverged", "diverged"),
    "ill_posed": ("lost its equilibrium (ill_posed)", "lost their equilibrium (ill_posed)"),
    "stalled": ("stalled", "stalled"),
    "no rate": ("has no measured rate", "have no measured rate"),
    "stopped": ("was stopped early", "were stopped early"),
    "bound": (
        "exceeds the bound where its conditions do not hold",
        "exceed the bound where its conditions do not hold",
    ),
    "lambda": (
        "has lambda_t below lambda_0 / 2 at some step",
        "have lambda_t below lambda_0 / 2 at some step",
    ),
    "ill-posed W": ("reached L ||W||_2 = 1", "reached L ||W||_2 = 1"),
}


@dataclass(frozen=True)
class Remark:
    """One remark on a trial.

    Attributes:
        kind: a key of KINDS.
        outcome: the trial.
        text: the remark.
    """

    kind: str
    outcome: TrialOutcome
    text: str


def remarks(outcomes: Sequence[TrialOutcome]) -> list[Remark]:
    """All remarks, trial by trial."""
    return [Remark(kind, x, text) for x in outcomes for kind, text in _remarks_on(x)]


def counts_by_kind(all_remarks: Sequence[Remark]) -> list[str]:
    """Sentences that count the trials with each kind of remark, the most serious kind first."""
    count = Counter(remark.kind for remark in all_remarks)
    return [
        f"{n} trials {several}" if n > 1 else f"1 trial {one}"
        for kind, (one, several) in KINDS.items()
        if (n := count[kind])
    ]


def _remarks_on(outcome: TrialOutcome) -> list[tuple[str, str]]:
    """Kind and text of each remark on one trial."""
    found = _violations(outcome)
    if outcome.error:
        found.insert(0, ("failed", f"failed: {outcome.error}"))
    elif outcome.status == MISSING:
        found.append(("missing", "has not run"))
    elif outcome.status == STOPPED:
        at = outcome.summary[STOPPED_AT]
        found.append(("stopped", f"stopped early at step {at:g}: its rate is censored"))
    elif outcome.status in ("diverged", "ill_posed", "stalled"):
        found.append((outcome.status, outcome.status))
    elif outcome.finished and "rate/measured" not in outcome.summary:
        found.append(("no rate", "no rate was measured (its MLflow page says why)"))
    return found


def _violations(outcome: TrialOutcome) -> list[tuple[str, str]]:
    """Remarks on statements of the theorem that do not hold for the trial."""
    s, found = outcome.summary, []
    if s.get("theory/bound_violation", 0.0) > 0 and s.get("theory/bound_held") != 1.0:
        excess = number(s["theory/bound_violation"])
        text = f"the theorem's bound was exceeded, by {excess} in log loss"
        if s.get("theory/condition_held") == 1.0:
            found.append(("contradiction", f"{text}, although conditions (7) to (10) hold"))
        else:
            found.append(("bound", text))
    if s.get("theory/lambda_ratio_min", 1.0) < 0.5:
        ratio = number(s["theory/lambda_ratio_min"])
        found.append(("lambda", f"lambda_t fell to {ratio} lambda_0, below one half"))
    if s.get("theory/well_posed_held", 1.0) == 0.0:
        found.append(("ill-posed W", "L ||W(t)||_2 reached 1"))
    return found
