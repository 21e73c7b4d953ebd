"""Numbers of every GD step: columns of a trajectory, and the curves of a trial's page."""

from sweeps.metrics.metric import Column, Metric

COLUMNS = (
    Column("step", "t, from 0: the state before the t-th update"),
    Column("loss", "Phi(t) = 1/2 ||yhat - y||^2", "train/loss"),
    Column(
        "residual",
        "relative residual of the worst sample's equilibrium, before the last map",
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
        "low-precision products with W for an equilibrium, mean over the samples; empty where "
        "solver.precision is full",
        work=True,
    ),
    Column(
        "adjoint_low",
        "low-precision products with W^T for an adjoint, mean over the samples; empty where "
        "solver.precision is full",
        work=True,
    ),
    Column(
        "products", "products with W a sample in this GD step, the gradient's included", work=True
    ),
    Column(
        "forward_predicted",
        "relative residual of the worst sample's predicted equilibrium",
        work=True,
    ),
    Column(
        "adjoint_predicted", "relative residual of the worst sample's predicted adjoint", work=True
    ),
    Column(
        "adjoint_residual",
        "relative residual of the worst sample's adjoint, before the last map",
        work=True,
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
