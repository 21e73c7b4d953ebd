"""Claims of the theory: where each is assumed to hold, and the check of it."""

from dataclasses import dataclass

from sweeps.reports.claims import (
    limit_checks,
    single_index_checks,
    theorem_checks,
    training_checks,
)
from sweeps.reports.claims.finding import Check

MODULES = (theorem_checks, training_checks, single_index_checks, limit_checks)
METRICS = tuple(dict.fromkeys(metric for module in MODULES for metric in module.METRICS))
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
        check: computes what a sweep's trials show; see `claims_frame`.
    """

    name: str
    text: str
    source: str
    assumptions: str
    experiment: str
    check: Check


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
        theorem_checks.guaranteed(
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
        theorem_checks.guaranteed(
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
        theorem_checks.guaranteed(
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
        theorem_checks.guaranteed(
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
        "that are not redrawn, of the greatest width, m >= n, where lambda_* is resolved",
        "width_scaling",
        theorem_checks.initial,
    ),
    Claim(
        "kernel",
        "K exists and is unique: K^(l) tends to it from K^(0) = 0 and from K^(0) = 10 X^T X / d",
        f"{LING}, section 4; {TRUONG}",
        "with diagnostics.depth, where sigma_w2 is below its limit",
        "depth_width",
        limit_checks.unique,
    ),
    Claim(
        "population",
        "G(0) / m tends to K; the central limit theorem has ||G(0)/m - K||_F fall as m^(-1/2)",
        f"{LING}, section 4",
        "that are not redrawn, where sigma_w2 is below its limit",
        "width_scaling",
        limit_checks.root_of_width("theory/gram_error"),
    ),
    Claim(
        "depth",
        "networks of depth l near the equilibrium geometrically: for large l each layer leaves of "
        "||G^(l) - G||_F at most L ||W||_2, of ||K^(l) - K||_F, if phi(0) = 0, 2 sigma_w2 L^2",
        f"{LING}; docs/theory.md, section 10",
        "with diagnostics.depth, where L ||W||_2 < 1",
        "depth_width",
        limit_checks.geometric,
    ),
    Claim(
        "exchange",
        "the limits of depth and width commute: G^(l) / m is near K^(l) at all depths l alike, "
        "max_l ||G^(l)/m - K^(l)||_F falls as m^(-1/2)",
        f"{GAO} (the exchange); docs/theory.md, section 13",
        "that are not redrawn, with diagnostics.depth, where sigma_w2 is below its limit",
        "depth_width",
        limit_checks.root_of_width("theory/depth_error", room=limit_checks.ROOM),
    ),
    Claim(
        "gaussian",
        "over random networks the outputs tend to Gaussian ones with the width",
        f"{GAO}; docs/theory.md, section 13",
        "that are not redrawn, with diagnostics.depth, interval of at most "
        f"{limit_checks.COARSE_KURTOSIS} to each side",
        "depth_width",
        limit_checks.gaussian,
    ),
    Claim(
        "equivalent",
        "in high dimension K tends to a_0 1 1^T + a_1 C + a_2 T + b I in spectral norm: the error "
        "falls at least as d^(-1/2)",
        f"docs/theory.md, section 14, after {EQUIVALENTS}",
        IN_HIGH_DIMENSION,
        "high_dimension",
        limit_checks.falls_with_dimension("theory/equivalent_error", 0.5),
    ),
    Claim(
        "shallow",
        "in high dimension an explicit network of one hidden layer has the kernel K: the error "
        "falls at least as 1 / d",
        f"docs/theory.md, section 14, after {EQUIVALENTS}",
        IN_HIGH_DIMENSION,
        "high_dimension",
        limit_checks.falls_with_dimension("theory/shallow_error", 1.0),
    ),
    Claim(
        "redraw",
        "redrawing ends: some network satisfies conditions (7) to (9)",
        TRUONG,
        "with model.init=redraw",
        "redraw",
        theorem_checks.redrawn,
    ),
    Claim(
        "optimum",
        "gradient descent reaches a global optimum",
        f"{LING}; {TRUONG}",
        "with plain gradient descent and lambda_0 > 0, below the step size 2 / lambda_max(H(0)), "
        "where training did not end with its budget",
        "global_convergence",
        training_checks.optimum,
    ),
    Claim(
        "final_rate",
        "at the end the loss falls at the rate of the slowest mode of H",
        "linearisation, docs/theory.md, section 6",
        "with plain gradient descent, where a train.loss_tol of 1e-12 or less was reached",
        "global_convergence",
        training_checks.final_rate,
    ),
    Claim(
        "sphere",
        "gradient flow conserves ||I - W||_F^2 + ||U||_F^2 of a linear or ReLU DEQ: gradient "
        "descent changes it in proportion to eta",
        f"{INDEX} (linear); docs/theory.md, section 12",
        "with plain gradient descent, where train.loss_tol was reached, with identity or relu, at "
        "three step sizes or more",
        "conservation",
        single_index_checks.conserved(single_index_checks.SPHERE),
    ),
    Claim(
        "circle",
        "gradient flow conserves (1 - w)^2 + a^2 of a ReLU DEQ of width 1: gradient descent "
        "changes it in proportion to eta",
        "docs/theory.md, section 16",
        "with plain gradient descent, where train.loss_tol was reached, with "
        "data.labels=single_index, at three step sizes",
        "single_index",
        single_index_checks.conserved(single_index_checks.CIRCLE),
    ),
    Claim(
        "single_index",
        "gradient descent of a single-index DEQ converges linearly to a global minimum, which the "
        "conserved quantities determine, and with it the rate",
        f"{INDEX} (linear convergence); docs/theory.md, section 16 (minimum, rate)",
        "with data.labels=single_index and no biases, whose sign of a allows it, that moved and "
        "did not diverge",
        "single_index",
        single_index_checks.minimum,
    ),
    Claim(
        "linearised",
        "the measured rate tends to the linearised one with the width",
        "linearisation, docs/theory.md, section 6",
        "of two widths or more, with plain gradient descent",
        "rate_vs_bound",
        training_checks.falls_with_width(
            training_checks.linearisation_error,
            "median |measured / linearised - 1|: {} at {}, {} at {}",
        ),
    ),
    Claim(
        "drift",
        "the tangent kernel changes less in a wider network",
        "linearisation, docs/theory.md, section 6",
        "of two widths or more, with plain gradient descent",
        "rate_vs_bound",
        training_checks.falls_with_width(
            training_checks.kernel_drift,
            "median relative change of H: {} at {}, {} at {}",
        ),
    ),
)
