"""Numbers of the theorem's conditions and promises, of K and of H."""

from sweeps.metrics.metric import FLAG, NATS, Metric

# Slacks of the theorem's conditions: metric by the condition's name, in the papers' order.
SLACKS = {f"({number})": f"theory/slack_{number}" for number in (7, 8, 9, 10)}
STRICT = SLACKS["(10)"]


def slack_holds(key: str, slack: float) -> bool:
    """Return whether a condition holds: (10) is strict, the others are not.

    Args:
        key: the slack's metric.
        slack: its value.
    """
    return slack > 1 if key == STRICT else slack >= 1


THEORY = (
    Metric("theory/lambda_0", "lambda_min(G(0))"),
    Metric("theory/lambda_0_over_m", "lambda_min(G(0)) / m"),
    Metric(
        "theory/lambda_star",
        "lambda_* = lambda_min(K), the limit of lambda_0 / m; absent below 10 times "
        "theory/lambda_star_error",
    ),
    Metric(
        "theory/lambda_0_over_m_lambda_star",
        "lambda_0 / (m lambda_*): Theorem 2 has it at 0.5 and above, with high probability",
    ),
    Metric(
        "theory/lambda_star_error",
        "bound on the error of lambda_*; of an own activation what L and M prove",
        scale="theory/lambda_star",
    ),
    Metric("theory/lambda_ratio_min", "least lambda_t / lambda_0 over the measured steps"),
    Metric("theory/gram_error", "||G(0)/m - K||_F"),
    Metric(
        "theory/depth_factor",
        "diagnostics.depth: factor per layer l of ||G^(l) - G||_F, G^(l) the Gram matrix of the"
        " network of depth l",
    ),
    Metric(
        "theory/depth_bound",
        "diagnostics.depth: L ||W(0)||_2, which theory/depth_factor does not exceed for large l",
    ),
    Metric(
        "theory/depth_factor_limit",
        "diagnostics.depth: factor per layer l of ||K^(l) - K||_F, K^(l) the limit of G^(l) / m"
        " for infinite width",
    ),
    Metric(
        "theory/depth_bound_limit",
        "diagnostics.depth: 2 sigma_w2 L^2, if phi(0) is not 0 the greater of 2 sigma_w2 L^2 "
        "and sqrt(2 sigma_w2) L: theory/depth_factor_limit does not exceed it for large l",
    ),
    Metric(
        "theory/depth_half",
        "diagnostics.depth: depth l from which lambda_min(G^(l)) >= lambda_0 / 2, what the "
        "theorem needs",
        "layers",
    ),
    Metric(
        "theory/kernel_gap",
        "diagnostics.depth: ||K' - K||_F / ||K||_F, K' the limit of K^(l) if it starts at 10 "
        "X^T X / d instead of 0",
    ),
    Metric(
        "theory/depth_error",
        "diagnostics.depth: greatest ||G^(l)/m - K^(l)||_F of all l <= diagnostics.depth",
    ),
    Metric(
        "theory/depth_error_1", "diagnostics.depth: ||G^(1)/m - K||_F, of the network of depth 1"
    ),
    Metric(
        "theory/depth_error_2", "diagnostics.depth: ||G^(2)/m - K||_F, of the network of depth 2"
    ),
    Metric(
        "theory/depth_error_4", "diagnostics.depth: ||G^(4)/m - K||_F, of the network of depth 4"
    ),
    Metric("theory/output_square", "diagnostics.depth: mean of yhat(0)^2 over the samples"),
    Metric(
        "theory/output_fourth",
        "diagnostics.depth: mean of yhat(0)^4 over the samples; over networks it gives the "
        "kurtosis",
    ),
    Metric(
        "theory/gram_diagonal", "diagnostics.depth: mean of G_ii / m over the samples, at step 0"
    ),
    Metric(
        "theory/gram_diagonal_square",
        "diagnostics.depth: mean of (G_ii / m)^2 over the samples, at step 0",
    ),
    Metric(
        "theory/equivalent_error",
        "diagnostics.high_dimension: spectral norm of K minus a_0 1 1^T + a_1 C + a_2 T + b I, C "
        "the cosines of the inputs and T the means of their squares over pairs of classes",
        scale="1",
    ),
    Metric(
        "theory/equivalent_error_isotropic",
        "diagnostics.high_dimension: 2 sqrt(2 n) a_2 / d, what theory/equivalent_error is close"
        " to on the sphere in high dimension",
        scale="1",
    ),
    Metric(
        "theory/shallow_error",
        "diagnostics.high_dimension: spectral norm of K minus the kernel of the explicit "
        "network of one hidden layer that has K's a_0, a_1, a_2 and diagonal",
        scale="1",
    ),
    Metric(
        "theory/sphere_drift",
        "relative change of ||I - W||_F^2 + ||U||_F^2 from step 0 to the last step; gradient "
        "flow conserves it for model.activation=identity and relu",
        scale="1",
    ),
    Metric(
        "theory/sphere_drift_output",
        "relative change of ||I - W||_F^2 + ||a||^2 from step 0 to the last step; gradient flow"
        " conserves it for model.activation=identity and relu (at model.width=1 a circle)",
        scale="1",
    ),
    Metric(
        "theory/kernel_drift",
        "||H(T) - H(0)||_F / ||H(0)||_F, T the last measured step",
        scale="1",
    ),
    Metric(
        "theory/delta",
        "the delta of conditions (7) to (10) at which their least slack is greatest; with "
        "train.eta_unit=theorem that of the largest step size",
    ),
    Metric(
        "theory/slack_7",
        "lambda_0 / ((4/delta) max(C_w, C_u, C_a) ||e(0)||): condition (7) holds at 1 and above",
    ),
    Metric(
        "theory/slack_8",
        "lambda_0^(3/2) / (4 (2 + sqrt 2) / rho_a (C_w^2 + C_u^2) ||e(0)||): condition (8) "
        "holds at 1 and above",
    ),
    Metric(
        "theory/slack_9",
        "lambda_0 / (4 (C_w^2 + C_u^2)): condition (9), as the papers state it, holds at 1 and "
        "above",
    ),
    Metric(
        "theory/slack_9_strict",
        "lambda_0 / (8 (C_w^2 + C_u^2)): at 1 and above the direct proof gives the stated bound",
    ),
    Metric(
        "theory/slack_10",
        "the right side of condition (10), divided by eta: condition (10) holds above 1; absent "
        "where lambda_0 is 0 up to rounding, as theory/delta",
    ),
    Metric("theory/c_a", "C_a from the Lipschitz constant, which bounds ||Z||_F in the papers"),
    Metric(
        "theory/c_a_bounded",
        "sup|phi| sqrt(m n), where it is smaller than theory/c_a: conditions (7) to (10) use it"
        " then",
    ),
    Metric(
        "theory/networks_drawn",
        "model.init=redraw: networks drawn until conditions (7) to (9) held, or until the limit"
        " of draws",
    ),
    Metric("theory/condition_held", "whether conditions (7) to (10) hold", FLAG),
    Metric("theory/bound_held", "whether Phi stayed under the bound, up to rounding", FLAG),
    Metric(
        "theory/bound_violation",
        "max over t >= 1 of log Phi(t) - log Phi(0) - t log(1 - eta lambda_0 / 2): <= 0 where it "
        "held",
        NATS,
        scale="1",
    ),
    Metric("theory/lambda_held", "whether lambda_t >= lambda_0 / 2 at every measured step", FLAG),
    Metric("theory/well_posed_held", "whether L ||W(t)||_2 < 1 at every measured step", FLAG),
    Metric(
        "theory/heavy_ball_momentum",
        "((sqrt k - 1) / (sqrt k + 1))^2, k the condition number of H(0): train.momentum of "
        "rate/heavy_ball",
    ),
    Metric(
        "theory/heavy_ball_eta",
        "(2 / (sqrt lambda_max(H(0)) + sqrt lambda_min(H(0))))^2: step size of rate/heavy_ball",
    ),
    Metric(
        "theory/minimum_distance",
        "data.labels=single_index, width 1, ReLU: distance of w, u and a at step 0 from the "
        "minimum that gradient flow reaches; compare train/distance. Absent where no sample is "
        "active at step 0",
    ),
    Metric(
        "theory/distance_over_delta",
        "greatest of ||W(T) - W(0)||_F, ||U(T) - U(0)||_F, ||a(T) - a(0)||_2, divided by "
        "theory/delta: at most 1 where (7) to (10) hold",
    ),
)
