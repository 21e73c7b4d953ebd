"""Scorecard of the theory's claims: where each is assumed to hold, and what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.claims.catalogue import CLAIMS, METRICS, Claim
from sweeps.reports.claims.finding import Finding
from sweeps.reports.claims.frame import claims_frame

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

__all__ = ["CLAIMS", "METRICS", "Score", "claims_frame", "score", "scorecard"]


@dataclass(frozen=True)
class Score:
    """A row of the scorecard."""

    claim: Claim
    finding: Finding


def scorecard(outcomes: Sequence[TrialOutcome]) -> list[Score]:
    """Every claim whose quantities a sweep's trials have, with what they show."""
    frame = claims_frame(outcomes, METRICS)
    scores = [score(claim, frame) for claim in CLAIMS]
    return [each for each in scores if each.finding.measured]


def score(claim: Claim, frame: "DataFrame") -> Score:
    """One claim, with what a sweep's trials show of it; see `claims_frame`."""
    return Score(claim, claim.check(frame))
