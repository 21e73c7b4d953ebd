"""Trials of a sweep that need attention: failures, divergence, violations, missing rates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.config.early_stopping import STOPPED, STOPPED_AT
from sweeps.planning.outcomes import MISSING, TrialOutcome, format_number

# How a kind of remark is counted: of one trial, of several.
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
    """One thing to know about a trial.

    Attributes:
        kind: a key of KINDS.
        line: the trial.
        text: the remark.
    """

    kind: str
    line: TrialOutcome
    text: str


def remarks(lines: Sequence[TrialOutcome]) -> list[Remark]:
    """All remarks, trial by trial."""
    return [Remark(kind, line, text) for line in lines for kind, text in _of(line)]


def counted(found: Sequence[Remark]) -> list[str]:
    """Count the trials of each kind of remark, the most serious kind first."""
    count = Counter(remark.kind for remark in found)
    return [
        f"{n} trials {several}" if n > 1 else f"1 trial {one}"
        for kind, (one, several) in KINDS.items()
        if (n := count[kind])
    ]


def _of(line: TrialOutcome) -> list[tuple[str, str]]:
    """Kind and text of the remarks on one trial."""
    found = _violations(line)
    if line.error:
        found.insert(0, ("failed", f"failed: {line.error}"))
    elif line.status == MISSING:
        found.append(("missing", "has not run"))
    elif line.status == STOPPED:
        at = line.summary[STOPPED_AT]
        found.append(("stopped", f"stopped early at step {at:g}: its rate is censored"))
    elif line.status in ("diverged", "ill_posed", "stalled"):
        found.append((line.status, line.status))
    elif line.finished and "rate/measured" not in line.summary:
        found.append(("no rate", "no rate was measured (its MLflow page says why)"))
    return found


def _violations(line: TrialOutcome) -> list[tuple[str, str]]:
    """Remarks on promises of the theorem that the trial did not keep."""
    s, found = line.summary, []
    if s.get("theory/bound_violation", 0.0) > 0 and s.get("theory/bound_held") != 1.0:
        excess = format_number(s["theory/bound_violation"])
        text = f"the theorem's bound was exceeded, by {excess} in log loss"
        if s.get("theory/condition_held") == 1.0:
            found.append(("contradiction", f"{text}, although conditions (7) to (10) hold"))
        else:
            found.append(("bound", text))
    if s.get("theory/lambda_ratio_min", 1.0) < 0.5:
        ratio = format_number(s["theory/lambda_ratio_min"])
        found.append(("lambda", f"lambda_t fell to {ratio} lambda_0, below one half"))
    if s.get("theory/well_posed_held", 1.0) == 0.0:
        found.append(("ill-posed W", "L ||W(t)||_2 reached 1"))
    return found
