"""Trials of a sweep that need attention: failures, divergence, violations, missing rates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.config.early_stopping import STOPPED, STOPPED_AT
from sweeps.config.texts import count_noun
from sweeps.planning.outcomes import MISSING, TrialOutcome, format_number

# Text for each kind of remark after the number of trials, the most serious kind first.
KINDS = {
    "contradiction": "above the bound although conditions (7) to (10) hold, "
    "which contradicts the theorem",
    "failed": "failed",
    "missing": "not run",
    "diverged": "diverged",
    "ill_posed": "without an equilibrium (ill_posed)",
    "rejected": "whose drawn networks all failed conditions (7) to (9) (rejected)",
    "stalled": "stalled",
    "no rate": "without a measured rate",
    "stopped": "stopped early",
    "bound": "above the bound where its conditions do not hold",
    "lambda": "with lambda_t below lambda_0 / 2 at some step",
    "ill-posed W": "with L ||W||_2 >= 1 at some step",
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
    """Number of trials with each kind of remark, as text, the most serious kind first."""
    count = Counter(remark.kind for remark in all_remarks)
    return [
        f"{count_noun(count[kind], 'trial')} {text}" for kind, text in KINDS.items() if count[kind]
    ]


def _remarks_on(outcome: TrialOutcome) -> list[tuple[str, str]]:
    """Kind and text of each remark on one trial."""
    kinds_and_texts = _violations(outcome)
    if outcome.error:
        kinds_and_texts.insert(0, ("failed", f"failed: {outcome.error}"))
    elif outcome.status == MISSING:
        kinds_and_texts.append(("missing", "has not run"))
    elif outcome.status == STOPPED:
        at = outcome.summary[STOPPED_AT]
        kinds_and_texts.append(("stopped", f"stopped early at step {at:g}: its rate is censored"))
    elif outcome.status in ("diverged", "ill_posed", "rejected", "stalled"):
        kinds_and_texts.append((outcome.status, outcome.status))
    elif outcome.finished and "rate/measured" not in outcome.summary:
        kinds_and_texts.append(("no rate", "no rate was measured (its MLflow page says why)"))
    return kinds_and_texts


def _violations(outcome: TrialOutcome) -> list[tuple[str, str]]:
    """Remarks on statements of the theorem that do not hold for the trial."""
    s, kinds_and_texts = outcome.summary, []
    if s.get("theory/bound_violation", 0.0) > 0 and s.get("theory/bound_held") != 1.0:
        excess = format_number(s["theory/bound_violation"])
        text = f"the theorem's bound was exceeded, by {excess} in log loss"
        if s.get("theory/condition_held") == 1.0:
            kinds_and_texts.append(
                ("contradiction", f"{text}, although conditions (7) to (10) hold")
            )
        else:
            kinds_and_texts.append(("bound", text))
    if s.get("theory/lambda_ratio_min", 1.0) < 0.5:
        ratio = format_number(s["theory/lambda_ratio_min"])
        kinds_and_texts.append(("lambda", f"lambda_t fell to {ratio} lambda_0, below one half"))
    if s.get("theory/well_posed_held", 1.0) == 0.0:
        kinds_and_texts.append(("ill-posed W", "L ||W(t)||_2 reached 1"))
    return kinds_and_texts
