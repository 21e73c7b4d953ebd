"""A scorecard of the theory's claims: where each is assumed to hold, and what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deq
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports import limits, single_index
from sweeps.reports.claims_frame import (
    ANY_WIDTH,
    ETA,
    GOAL,
    NETWORK,
    UNIT,
    claims_frame,
    each_once,
)
from sweeps.reports.finding import NEAR, WIDTH, Finding, together
from sweeps.reports.frames import LINEARIZED, MEASURED, OVER_LINEARIZED, has_linearised_rate
from sweeps.reports.spread import FEW, between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame, Series

HELD = "theory/condition_held"
METRICS = (
    *(HELD, "theory/bound_held", "theory/bound_violation", "theory/lambda_held"),
    *("theory/lambda_ratio_min", "theory/well_posed_held", "theory/distance_over_delta"),
    *("theory/lambda_0_over_m", "theory/lambda_star", "theory/gram_error", "theory/kernel_drift"),
    *(MEASURED, LINEARIZED, OVER_LINEARIZED, "rate/measured_end_over_asymptotic"),
    *("theory/networks_drawn", "train/eta"),
    *single_index.METRICS,
    *limits.METRICS,
)
# A loss of this share of the first one or less is a global optimum up to rounding.
OPTIMUM = 1e-12
LING, TRUONG, GAO = "Ling et al. 2023", "Truong 2023", "Gao et al. 2023"


@dataclass(frozen=True)
class Claim:
    """A claim of the theory that trials can confirm or contradict.

    Attributes:
        name: for JSON and tests.
        text: the claim.
        source: who proved it, or derived it.
        assumptions: where it is claimed.
        experiment: the experiment under conf/ whose sweep tests it.
        judge: what a sweep's trials show; see `claims_frame`.
    """

    name: str
    text: str
    source: str
    assumptions: str
    experiment: str
    judge: "Callable[[DataFrame], Finding]"


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
    return Score(claim, claim.judge(frame))


def _guaranteed(
    flag: str, text: str, metric: str, *, greatest: bool = False
) -> "Callable[[DataFrame], Finding]":
    """Judge a consequence of the theorem in the networks that satisfy (7) to (10).

    Args:
        flag: metric that is 1 where it held; "" where a quantity of at most 1 says so.
        text: the measured quantity, with a place for its extreme value.
        metric: the quantity.
        greatest: whether its greatest value is the worst.
    """

    def judge(frame: "DataFrame") -> Finding:
        quantity = frame[metric]
        measured = frame[quantity.notna() & frame[HELD].notna()]
        held = measured[flag] == 1 if flag else quantity[measured.index] <= 1
        assumed = measured[HELD] == 1
        if measured.empty:
            return Finding(0, 0, "")
        worst = quantity[measured.index][assumed]
        parts = []
        if len(worst):
            parts.append(text.format(short(worst.max() if greatest else worst.min())))
        others = held[~assumed]
        if len(others):
            parts.append(f"elsewhere, not guaranteed: held in {int(others.sum())} of {len(others)}")
        return Finding(len(worst), int(held[assumed].sum()), "; ".join(parts))

    return judge


def _initial(frame: "DataFrame") -> Finding:
    networks = each_once(frame, NETWORK, "theory/lambda_0_over_m", "theory/lambda_star")
    ratio = networks["theory/lambda_0_over_m"] / networks["theory/lambda_star"]
    if ratio.empty:
        return Finding(0, 0, "")
    widest = ratio[networks[WIDTH] == networks[WIDTH].max()]
    held = int((widest >= 0.5).sum())
    text = (
        f"lambda_0 / (m lambda_*) from {short(ratio.min())}; at the greatest width at least 1/2 "
        f"in {held} of {len(widest)}"
    )
    if len(widest) >= FEW and networks[ANY_WIDTH].nunique() == 1:  # of one law, independent
        share = deq.proportion(held, len(widest))
        text += f" (probability {between(share.low, share.high)}, 95 %)"
    return Finding(len(ratio), int((ratio >= 0.5).sum()), text, "networks")


def _with_width(
    values: "Callable[[DataFrame], Series[float]]", text: str
) -> "Callable[[DataFrame], Finding]":
    """Judge whether the median of a quantity is less at the greatest width than at the least."""

    def judge(frame: "DataFrame") -> Finding:
        quantity = values(frame).dropna()
        medians = quantity.groupby(frame[WIDTH][quantity.index]).median()
        if len(medians) < 2:
            return Finding(0, 0, "")
        first, last = medians.index[0], medians.index[-1]
        shown = text.format(short(medians[first]), first, short(medians[last]), last)
        return together(len(quantity), bool(medians[last] < medians[first]), shown)

    return judge


def _redrawn(frame: "DataFrame") -> Finding:
    rows = each_once(frame, NETWORK, "theory/networks_drawn")
    if rows.empty:
        return Finding(0, 0, "")
    rejected = int((rows["status"] == "rejected").sum())
    means = rows["theory/networks_drawn"].groupby(rows[WIDTH]).mean()
    ends = dict.fromkeys((means.index[0], means.index[-1]))
    text = ", ".join(f"{short(means[width])} at width {width}" for width in ends)
    held = len(rows) - rejected
    return Finding(len(rows), held, f"networks drawn, on average: {text}", "networks")


def _optimum(frame: "DataFrame") -> Finding:
    too_large = (frame[UNIT] == "tangent") & (frame[ETA] >= 1)  # 2 / lambda_max(H(0)) and more
    ended = frame[(frame["status"] != "budget") & (frame[GOAL] <= OPTIMUM) & ~too_large]
    if ended.empty:
        return Finding(0, 0, "")
    reached = int((ended["status"] == "converged").sum())
    goal = short(ended[GOAL].max())
    text = f"the loss fell to {goal} of its first value in {reached} of {len(ended)}"
    return Finding(len(ended), reached, text)


def _final_rate(frame: "DataFrame") -> Finding:
    ratio = frame["rate/measured_end_over_asymptotic"][frame["status"] == "converged"].dropna()
    if ratio.empty:
        return Finding(0, 0, "")
    text = "measured rate divided by -2 log(1 - eta lambda_min(H)):"
    near = int(((ratio - 1).abs() <= NEAR).sum())
    return Finding(len(ratio), near, f"{text} {between(ratio.min(), ratio.max())}")


def _column(name: str) -> "Callable[[DataFrame], Series[float]]":
    return lambda frame: frame[name]


EQUIVALENTS, INDEX = "Ling et al. 2024", "Dandapanthula and Ramdas 2025"
IN_HIGH_DIMENSION = "with diagnostics.high_dimension, at three dimensions or more and one n / d"
ALL_FOUR = "where (7) to (10) hold"
CLAIMS = (
    Claim(
        "equilibrium",
        "L ||W(t)||_2 < 1 at every step, so that the equilibrium exists and is unique",
        f"{LING}; {TRUONG}, the theorem",
        ALL_FOUR,
        "theorem",
        _guaranteed(
            "theory/well_posed_held",
            "at every measured step",
            "theory/well_posed_held",
        ),
    ),
    Claim(
        "lambda",
        "lambda_t >= lambda_0 / 2 at every step",
        f"{LING}; {TRUONG}, the theorem",
        ALL_FOUR,
        "theorem",
        _guaranteed(
            "theory/lambda_held",
            "least lambda_t / lambda_0: {}",
            "theory/lambda_ratio_min",
        ),
    ),
    Claim(
        "distance",
        "W, U and a move by at most delta",
        f"{LING}; {TRUONG}, the theorem",
        ALL_FOUR,
        "theorem",
        _guaranteed(
            "",
            "greatest distance over delta: {}",
            "theory/distance_over_delta",
            greatest=True,
        ),
    ),
    Claim(
        "bound",
        "the loss stays under Phi(0) (1 - eta lambda_0 / 2)^t",
        f"{LING}; {TRUONG}, the theorem",
        ALL_FOUR,
        "theorem",
        _guaranteed(
            "theory/bound_held",
            "greatest log(loss / bound): {}",
            "theory/bound_violation",
            greatest=True,
        ),
    ),
    Claim(
        "initial",
        "lambda_0 >= m lambda_* / 2 with high probability for large m",
        f"{LING}, Theorem 2; {TRUONG}",
        "where lambda_* is resolved",
        "width_scaling",
        _initial,
    ),
    Claim(
        "kernel",
        "K exists and is unique: K^(l) tends to it from K^(0) = 0 and from K^(0) = 10 X^T X / d",
        f"{LING}, section 4; {TRUONG}",
        "with diagnostics.depth, where sigma_w2 is below its limit",
        "depth_width",
        limits.unique,
    ),
    Claim(
        "population",
        "G(0) / m tends to K; the central limit theorem has ||G(0)/m - K||_F fall as m^(-1/2)",
        f"{LING}, section 4",
        "where sigma_w2 is below its limit",
        "width_scaling",
        limits.root_of_width("theory/gram_error"),
    ),
    Claim(
        "depth",
        "networks of depth l near the equilibrium geometrically: for large l each layer leaves of "
        "||G^(l) - G||_F at most L ||W||_2, of ||K^(l) - K||_F, if phi(0) = 0, 2 sigma_w2 L^2",
        f"{LING}; docs/theory.md, section 10",
        "with diagnostics.depth, where L ||W||_2 < 1",
        "depth_width",
        limits.geometric,
    ),
    Claim(
        "exchange",
        "the limits of depth and width commute: G^(l) / m is near K^(l) at all depths l alike, "
        "max_l ||G^(l)/m - K^(l)||_F falls as m^(-1/2)",
        f"{GAO} (the exchange); docs/theory.md, section 13",
        "with diagnostics.depth, where sigma_w2 is below its limit",
        "depth_width",
        limits.root_of_width("theory/depth_error", room=limits.ROOM),
    ),
    Claim(
        "gaussian",
        "over random networks the outputs tend to Gaussian ones with the width",
        f"{GAO}; docs/theory.md, section 13",
        f"with diagnostics.depth, interval of at most {limits.COARSE_KURTOSIS} to each side",
        "depth_width",
        limits.gaussian,
    ),
    Claim(
        "equivalent",
        "in high dimension K tends to a_0 1 1^T + a_1 C + a_2 T + b I in spectral norm: the error "
        "falls at least as d^(-1/2)",
        f"docs/theory.md, section 14, after {EQUIVALENTS}",
        IN_HIGH_DIMENSION,
        "high_dimension",
        limits.falls_with_dimension("theory/equivalent_error", 0.5),
    ),
    Claim(
        "shallow",
        "in high dimension an explicit network of one hidden layer has the kernel K: the error "
        "falls at least as 1 / d",
        f"docs/theory.md, section 14, after {EQUIVALENTS}",
        IN_HIGH_DIMENSION,
        "high_dimension",
        limits.falls_with_dimension("theory/shallow_error", 1.0),
    ),
    Claim(
        "redraw",
        "redrawing ends: some network satisfies conditions (7) to (9)",
        TRUONG,
        "with model.init=redraw",
        "redraw",
        _redrawn,
    ),
    Claim(
        "optimum",
        "gradient descent reaches a global optimum",
        f"{LING}; {TRUONG}",
        "below the step size 2 / lambda_max(H(0)), where training did not end with its budget",
        "global_convergence",
        _optimum,
    ),
    Claim(
        "final_rate",
        "at the end the loss falls at the rate of the slowest mode of H",
        "linearisation, docs/theory.md, section 6",
        "where train.loss_tol was reached",
        "global_convergence",
        _final_rate,
    ),
    Claim(
        "sphere",
        "gradient flow conserves ||I - W||_F^2 + ||U||_F^2 of a linear or ReLU DEQ: gradient "
        "descent changes it in proportion to eta",
        f"{INDEX} (linear); docs/theory.md, section 12",
        "where train.loss_tol was reached, with identity or relu, at three step sizes or more",
        "conservation",
        single_index.conserved(single_index.SPHERE),
    ),
    Claim(
        "circle",
        "gradient flow conserves (1 - w)^2 + a^2 of a ReLU DEQ of width 1: gradient descent "
        "changes it in proportion to eta",
        "docs/theory.md, section 16",
        "where train.loss_tol was reached, with data.labels=single_index, at three step sizes",
        "single_index",
        single_index.conserved(single_index.CIRCLE),
    ),
    Claim(
        "single_index",
        "gradient descent of a single-index DEQ converges linearly to a global minimum, which the "
        "conserved quantities determine, and with it the rate",
        f"{INDEX} (linear convergence); docs/theory.md, section 16 (minimum, rate)",
        "with data.labels=single_index whose sign of a allows it and that did not diverge",
        "single_index",
        single_index.minimum,
    ),
    Claim(
        "linearised",
        "the measured rate tends to the linearised one with the width",
        "linearisation, docs/theory.md, section 6",
        "of two widths or more",
        "rate_vs_bound",
        _with_width(
            lambda frame: (frame[OVER_LINEARIZED][has_linearised_rate(frame)] - 1).abs(),
            "median |measured / linearised - 1|: {} at {}, {} at {}",
        ),
    ),
    Claim(
        "drift",
        "the tangent kernel changes less in a wider network",
        "linearisation, docs/theory.md, section 6",
        "of two widths or more",
        "global_convergence",
        _with_width(
            _column("theory/kernel_drift"),
            "median relative change of H: {} at {}, {} at {}",
        ),
    ),
)
