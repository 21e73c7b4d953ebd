"""Names, definitions and units of all numbers that a trial records; see docs/reference.md.

Symbols are the theory's (Ling et al. 2023, Truong 2023): Phi the loss, G = Z^T Z the Gram
matrix with least eigenvalue lambda_t at step t, H the tangent Gram matrix, K the limit of
G / m, L the Lipschitz constant of phi, m the width, n the samples, eta the step size.
A rate is -(d/dt) log Phi: larger is faster.
"""

from dataclasses import dataclass

# Prefix of metrics of a machine's use.
SYSTEM = "system/"
RATE, FLAG, NATS = "nats / GD step", "0 or 1", "nats"


@dataclass(frozen=True)
class Metric:
    """A number of a finished trial.

    Attributes:
        name: in MLflow.
        meaning: its definition.
        unit: empty for a pure number.
        work: True if it counts the solver's work and is no result; see `Column`.
        scale: the metric whose size a difference between two runs is compared with, for a
            metric that can be as small as rounding; "1" for the number 1; empty for itself.
    """

    name: str
    meaning: str
    unit: str = ""
    work: bool = False
    scale: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a trial's trajectory, one value for each GD step.

    Attributes:
        name: in `trajectory.parquet`.
        meaning: its definition.
        metric: the step metric in MLflow; empty where the column is in the file only.
        work: whether it describes the computation and not its result. Rounding changes such a
            column: a residual of 1e-9 has few exact digits, and a sample near the tolerance
            may take one map more.
    """

    name: str
    meaning: str
    metric: str = ""
    work: bool = False


# Slacks of the theorem's conditions: metric by the condition's name, in the papers' order.
SLACKS = {f"({number})": f"theory/slack_{number}" for number in (7, 8, 9, 10)}
STRICT = SLACKS["(10)"]


def slack_holds(key: str, slack: float) -> bool:
    """True if a condition holds: (10) is strict, the others are not.

    Args:
        key: the slack's metric.
        slack: its value.
    """
    return slack > 1 if key == STRICT else slack >= 1


SUMMARY = (
    Metric(
        "rate/measured",
        "minus the slope of log Phi, fitted to the last half of the steps above its floor",
        RATE,
    ),
    Metric(
        "rate/measured_stderr",
        "its standard error: noise, and bend over the window",
        RATE,
        scale="rate/measured",
    ),
    Metric("rate/measured_r2", "share of the variance of log Phi that the fitted line explains"),
    Metric("rate/measured_over_bound", "rate/measured divided by rate/bound"),
    Metric("rate/measured_over_linearized", "rate/measured divided by rate/linearized"),
    Metric(
        "rate/linearized",
        "of Phi_lin(t) = 1/2 sum_k (1 - eta h_k)^(2t) c_k^2, H(0)'s curve, over the same window",
        RATE,
    ),
    Metric("rate/asymptotic", "-2 log(1 - eta lambda_min(H(0))): its slowest mode's", RATE),
    Metric(
        "rate/bound",
        "-log(1 - eta lambda_0 / 2): guaranteed where theory/condition_held is 1",
        RATE,
    ),
    Metric(
        "rate/population",
        "of the infinite-width limit's curve (H_inf, expected initial error), same window",
        RATE,
    ),
    Metric("rate/population_asymptotic", "-2 log(1 - eta lambda_min(H_inf))", RATE),
    Metric("rate/population_bound", "-log(1 - eta m lambda_* / 2): where the bound tends", RATE),
    Metric("rate/measured_end", "as rate/measured, over the last tenth of the steps", RATE),
    Metric(
        "rate/asymptotic_end",
        "-2 log(1 - eta lambda_min(H(t))) where H was last measured above the loss's floor",
        RATE,
    ),
    Metric(
        "rate/measured_end_over_asymptotic",
        "rate/measured_end divided by rate/asymptotic_end: 1 once the slowest mode alone is left",
    ),
    Metric(
        "rate/single_index",
        "data.labels=single_index, width 1, ReLU: of the slowest mode at the minimum that gradient "
        "flow from the trial's network reaches",
        RATE,
    ),
    Metric("rate/measured_end_over_single_index", "rate/measured_end divided by rate/single_index"),
    Metric(
        "rate/effective_eigenvalue",
        "(1 - exp(-rate/2)) / eta: the eigenvalue of H whose mode decays at the measured rate",
    ),
    Metric(
        "rate/heavy_ball",
        "-2 log((sqrt k - 1) / (sqrt k + 1)), k the condition number of H(0): the greatest "
        "linearised rate with momentum",
        RATE,
    ),
    Metric("rate/oscillation", "amplitude of log Phi's period-two part", NATS, scale="1"),
    Metric("rate/window_start", "first step of the fit's window", "GD step"),
    Metric("rate/window_stop", "last step of the fit's window", "GD step"),
    Metric("theory/lambda_0", "lambda_min(G(0))"),
    Metric("theory/lambda_0_over_m", "lambda_min(G(0)) / m"),
    Metric(
        "theory/lambda_star",
        "lambda_* = lambda_min(K), the limit of lambda_0 / m; absent below 10 times its error",
    ),
    Metric(
        "theory/lambda_0_over_m_lambda_star",
        "lambda_0 / (m lambda_*): Theorem 2 has it at 0.5 and above, with high probability",
    ),
    Metric(
        "theory/lambda_star_error", "bound on the error of lambda_*", scale="theory/lambda_star"
    ),
    Metric("theory/lambda_ratio_min", "least lambda_t / lambda_0 over the measured steps"),
    Metric("theory/gram_error", "||G(0)/m - K||_F"),
    Metric(
        "theory/depth_factor",
        "diagnostics.depth: factor per layer l of ||G^(l) - G||_F, G^(l) of the network of depth l",
    ),
    Metric("theory/depth_bound", "L ||W(0)||_2, at most which this factor is for large l"),
    Metric("theory/depth_factor_limit", "the same of ||K^(l) - K||_F, the infinite width's"),
    Metric(
        "theory/depth_bound_limit",
        "2 sigma_w2 L^2, at most which this factor is for large l; if phi(0) is not 0 the greater "
        "of this and its root",
    ),
    Metric(
        "theory/depth_half",
        "depth from which lambda_min(G^(l)) >= lambda_0 / 2, what the theorem needs",
        "layers",
    ),
    Metric(
        "theory/kernel_gap",
        "diagnostics.depth: ||K' - K||_F / ||K||_F, K' what K^(l) tends to from 10 X^T X / d",
    ),
    Metric("theory/depth_error", "greatest ||G^(l)/m - K^(l)||_F of all l <= diagnostics.depth"),
    Metric("theory/depth_error_1", "||G^(l)/m - K||_F at depth l = 1"),
    Metric("theory/depth_error_2", "the same at l = 2"),
    Metric("theory/depth_error_4", "the same at l = 4"),
    Metric("theory/output_square", "diagnostics.depth: mean of yhat(0)^2 over the samples"),
    Metric("theory/output_fourth", "mean of yhat(0)^4: over networks it gives the kurtosis"),
    Metric("theory/gram_diagonal", "mean of G_ii / m over the samples, at step 0"),
    Metric("theory/gram_diagonal_square", "mean of (G_ii / m)^2"),
    Metric(
        "theory/equivalent_error",
        "diagnostics.high_dimension: spectral norm of K minus a_0 1 1^T + a_1 C + a_2 T + b I, C "
        "the cosines of the inputs and T the means of their squares over pairs of classes",
        scale="1",
    ),
    Metric(
        "theory/equivalent_error_isotropic",
        "2 sqrt(2 n) a_2 / d: what this norm is close to on the sphere in high dimension",
        scale="1",
    ),
    Metric(
        "theory/shallow_error",
        "spectral norm of K minus the kernel of the explicit network of one hidden layer with the "
        "same a_0, a_1, a_2 and K_ii",
        scale="1",
    ),
    Metric(
        "theory/sphere_drift",
        "relative change of ||I - W||_F^2 + ||U||_F^2 from step 0 to T; gradient flow conserves it "
        "for model.activation=identity and relu",
        scale="1",
    ),
    Metric(
        "theory/sphere_drift_output",
        "the same of ||I - W||_F^2 + ||a||^2: at model.width=1 a circle",
        scale="1",
    ),
    Metric(
        "theory/kernel_drift",
        "||H(T) - H(0)||_F / ||H(0)||_F, T the last measured step",
        scale="1",
    ),
    Metric(
        "theory/delta",
        "the delta at which the least of slacks (7) to (10) is greatest; "
        "with train.eta_unit=theorem that of the largest step size",
    ),
    Metric(
        "theory/slack_7",
        "lambda_0 / ((4/delta) max(C_w, C_u, C_a) ||e(0)||): condition (7) holds at 1 and above",
    ),
    Metric(
        "theory/slack_8",
        "lambda_0^(3/2) / (4 (2 + sqrt 2) / rho_a (C_w^2 + C_u^2) ||e(0)||): condition (8)",
    ),
    Metric(
        "theory/slack_9", "lambda_0 / (4 (C_w^2 + C_u^2)): condition (9) as the papers state it"
    ),
    Metric(
        "theory/slack_9_strict",
        "lambda_0 / (8 (C_w^2 + C_u^2)): at 1 and above the direct proof gives the stated bound",
    ),
    Metric(
        "theory/slack_10", "the right side of condition (10), divided by eta: (10) holds above 1"
    ),
    Metric("theory/c_a", "C_a from the Lipschitz constant, which bounds ||Z||_F in the papers"),
    Metric(
        "theory/c_a_bounded",
        "sup|phi| sqrt(m n), where it is smaller: it is in C_a's place in (7) to (10)",
    ),
    Metric(
        "theory/networks_drawn",
        "model.init=redraw: networks drawn until (7) to (9) held, or until it gave up",
    ),
    Metric("theory/condition_held", "whether (7) to (10) hold", FLAG),
    Metric("theory/bound_held", "whether Phi stayed under the bound, up to rounding", FLAG),
    Metric(
        "theory/bound_violation",
        "max over t of log Phi(t) - log Phi(0) - t log(1 - eta lambda_0 / 2): <= 0 where it held",
        NATS,
        scale="1",
    ),
    Metric("theory/lambda_held", "whether lambda_t >= lambda_0 / 2 at every measured step", FLAG),
    Metric("theory/well_posed_held", "whether L ||W(t)||_2 < 1 at every measured step", FLAG),
    Metric(
        "solver/products_total",
        "products with W a sample of the whole run, thin ones (n x n with n x m) counted n / m",
        "products",
        work=True,
    ),
    Metric(
        "solver/window_check",
        "train.integrator=windows: greatest relative deviation of yhat - y from true GD steps, at "
        "random steps",
        work=True,
    ),
    Metric(
        "solver/crossing",
        "windows with a kink: pre-activations that change sign once in a window, summed",
        work=True,
    ),
    Metric(
        "solver/sliding",
        "windows with a kink: pre-activations that slide along zero, the most of any window",
        work=True,
    ),
    Metric(
        "solver/undecided",
        "windows with a kink: pre-activations so close to zero that their side is not known, "
        "summed; single steps are taken where one would change the rate",
        work=True,
    ),
    Metric("time/seconds", "this trial's share of its pack's time", "s"),
    Metric("time/seconds_per_step", "the same, divided by the recorded steps", "s / GD step"),
    Metric("train/distance", "||theta(T) - theta(0)||_2 over W, U and a, T the last step"),
    Metric("train/distance_relative", "train/distance divided by ||theta(0)||_2"),
    Metric(
        "theory/heavy_ball_momentum", "((sqrt k - 1) / (sqrt k + 1))^2: train.momentum that has it"
    ),
    Metric(
        "theory/heavy_ball_eta",
        "(2 / (sqrt lambda_max(H(0)) + sqrt lambda_min(H(0))))^2: the step size that has it",
    ),
    Metric(
        "theory/minimum_distance",
        "data.labels=single_index, width 1, ReLU: distance of w, u and a at step 0 from that "
        "minimum, to compare train/distance with",
    ),
    Metric(
        "theory/distance_over_delta",
        "greatest of ||W(T) - W(0)||_F, ||U(T) - U(0)||_F, ||a(T) - a(0)||_2, divided by "
        "theory/delta: at most 1 where (7) to (10) hold",
    ),
    Metric(
        "test/loss",
        "data.test_n: 1/2 mean (yhat - y)^2 over the held-out samples, of the network at the end",
    ),
    Metric(
        "test/loss_linearized",
        "the same of the linearised network, kernel H(0), after the same number of GD steps",
    ),
    Metric("test/loss_population", "the same of kernel regression with H_inf"),
    Metric("test/loss_gram", "the same of kernel regression with K"),
    Metric("train/eta", "eta in absolute terms, whatever train.eta_unit is"),
)

COLUMNS = (
    Column("step", "t, from 0: the state before the t-th update"),
    Column("loss", "Phi(t) = 1/2 ||yhat - y||^2", "train/loss"),
    Column(
        "residual",
        "relative residual of the worst sample's equilibrium, before its last map",
        "train/residual",
        work=True,
    ),
    Column("grad_norm", "||grad Phi||, over W, U and a", "train/grad_norm"),
    Column("lambda_min_gram", "lambda_t = lambda_min(G(t))", "spectrum/lambda_min_gram"),
    Column("lambda_min_tangent", "lambda_min(H(t))", "spectrum/lambda_min_tangent"),
    Column("norm_w", "||W(t)||_2", "spectrum/norm_w"),
    Column(
        "forward_steps",
        "products with W for an equilibrium, mean over the samples",
        "solver/forward_steps",
        work=True,
    ),
    Column(
        "adjoint_steps",
        "products with W^T for an adjoint, mean over the samples",
        "solver/adjoint_steps",
        work=True,
    ),
    Column(
        "forward_low",
        "of these, low-precision ones; empty where solver.precision is full",
        work=True,
    ),
    Column("adjoint_low", "the same of the adjoint", work=True),
    Column(
        "products", "products with W a sample in this GD step, the gradient's included", work=True
    ),
    Column("forward_predicted", "worst sample's residual at the predicted equilibrium", work=True),
    Column("adjoint_predicted", "worst sample's residual at the predicted adjoint", work=True),
    Column(
        "adjoint_residual", "worst sample's residual of the adjoint, before its last map", work=True
    ),
    Column("flipped", "samples whose phi' changed at a kink", work=True),
    Column("rounding", "eps of the dtype that the step was computed in"),
    Column(
        "grad_check", "|grad_norm / ||the gradients|| - 1|: the engine's check on itself", work=True
    ),
    Column("kernel_drift", "||H(t) - H(0)||_F / ||H(0)||_F", "spectrum/kernel_drift"),
    Column("log_loss_linearized", "log Phi_lin(t), predicted from H(0) and e(0)"),
    Column("log_loss_bound", "log Phi(0) + t log(1 - eta lambda_0 / 2), the theorem's bound"),
    Column(
        "log_loss_population",
        "log of the loss of the infinite-width limit, with the expected initial error",
    ),
)

# Curves of a trial against the GD step, first on its page; at most a few hundred points each.
CURVES = (
    Metric("curve/loss", "Phi(t)"),
    Metric("curve/loss_linearized", "Phi_lin(t), predicted from H(0) and e(0)"),
    Metric("curve/loss_bound", "Phi(0) (1 - eta lambda_0 / 2)^t, the theorem's bound"),
    Metric("curve/lambda_ratio", "lambda_t / lambda_0"),
)
# Use of the machine by the process that trains, of trials that last `tracking.live_seconds`.
MACHINE = (
    Metric(f"{SYSTEM}cpu_utilization_percentage", "CPU", "percent of one core"),
    Metric(f"{SYSTEM}system_memory_usage_megabytes", "resident memory", "10^6 bytes"),
    Metric(f"{SYSTEM}system_memory_usage_percentage", "the same, of the machine's", "percent"),
    Metric(f"{SYSTEM}gpu_I_utilization_percentage", "a GPU that was given to it", "percent"),
    Metric(f"{SYSTEM}gpu_I_memory_usage_megabytes", "its memory in use", "10^6 bytes"),
    Metric(f"{SYSTEM}gpu_I_memory_usage_percentage", "the same, of all it has", "percent"),
)
# Of a trial that early stopping ended, beside the others.
STOPPED = (Metric("train/stopped_at", "where early stopping ended the trial", "GD step"),)
# Of a sweep's own run, beside means over seeds named METRIC/CELL.
SWEEP = (
    Metric("sweep/trials", "trials of the sweep"),
    Metric("sweep/failed", "those without a result"),
    Metric("sweep/reused", "those that were finished before it was launched"),
    Metric("frontier/held/CELL", "nearest value that met the condition; frontier/failed: did not"),
    Metric("search/best/CELL", "best objective so far, against the number of points tried"),
)
# Of a reproduction's run.
REPRODUCTION = (
    Metric(
        "reproduce/deviation",
        "greatest difference from the first run, relative to the greatest of its column",
    ),
)
