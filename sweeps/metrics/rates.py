"""Rates of a trial: measured, predicted, and the theorem's bound.

A rate is -(d/dt) log Phi: larger is faster.
"""

from sweeps.metrics.metric import NATS, RATE, Metric

RATES = (
    Metric(
        "rate/measured",
        "minus the slope of log Phi, fitted to the last half of the steps above its floor",
        RATE,
    ),
    Metric(
        "rate/measured_stderr",
        "standard error of rate/measured: noise, and bend of log Phi over the fit's window",
        RATE,
        scale="rate/measured",
    ),
    Metric(
        "rate/measured_r2",
        "share of the variance of log Phi that the line fitted for rate/measured explains",
    ),
    Metric("rate/measured_over_bound", "rate/measured divided by rate/bound"),
    Metric("rate/measured_over_linearized", "rate/measured divided by rate/linearized"),
    Metric(
        "rate/linearized",
        "rate of Phi_lin(t) = 1/2 sum_k (1 - eta h_k)^(2t) c_k^2, the loss predicted from H(0) "
        "and e(0), over the window of rate/measured; with train.momentum heavy ball's solution in"
        " place of (1 - eta h_k)^t",
        RATE,
    ),
    Metric(
        "rate/asymptotic",
        "-2 log|1 - eta lambda_min(H(0))|: rate of the slowest mode of H(0); with train.momentum "
        "heavy ball's of this mode",
        RATE,
    ),
    Metric(
        "rate/bound",
        "-log(1 - eta lambda_0 / 2): the theorem's, as the papers state it, where "
        "theory/condition_held is 1",
        RATE,
    ),
    Metric(
        "rate/population",
        "rate of the infinite-width limit's loss (H_inf, expected initial error) over the "
        "window of rate/measured; with train.momentum heavy ball's",
        RATE,
    ),
    Metric(
        "rate/population_asymptotic",
        "-2 log|1 - eta lambda_min(H_inf)|: rate of the slowest mode of H_inf; with "
        "train.momentum heavy ball's of this mode",
        RATE,
    ),
    Metric(
        "rate/population_bound",
        "-log(1 - eta m lambda_* / 2): what rate/bound tends to as the width grows",
        RATE,
    ),
    Metric(
        "rate/measured_end",
        "minus the slope of log Phi, fitted to the last tenth of the steps above its floor",
        RATE,
    ),
    Metric(
        "rate/asymptotic_end",
        "-2 log|1 - eta lambda_min(H(t))| where H was last measured above the loss's floor; with "
        "train.momentum heavy ball's of this mode",
        RATE,
    ),
    Metric(
        "rate/measured_end_over_asymptotic",
        "rate/measured_end divided by rate/asymptotic_end: 1 once the slowest mode alone is left",
    ),
    Metric(
        "rate/single_index",
        "data.labels=single_index, width 1, ReLU: rate of the slowest mode at the minimum that "
        "gradient flow from the trial's network reaches",
        RATE,
    ),
    Metric("rate/measured_end_over_single_index", "rate/measured_end divided by rate/single_index"),
    Metric(
        "rate/effective_eigenvalue",
        "(1 - exp(-rate/2)) / eta, rate = rate/measured: the eigenvalue of H whose mode decays "
        "at this rate",
    ),
    Metric(
        "rate/heavy_ball",
        "-2 log((sqrt k - 1) / (sqrt k + 1)), k the condition number of H(0): the greatest "
        "linearised rate with momentum",
        RATE,
    ),
    Metric("rate/oscillation", "amplitude of log Phi's period-two part", NATS, scale="1"),
    Metric(
        "rate/window_start", "first step of the window that rate/measured is fitted to", "GD step"
    ),
    Metric(
        "rate/window_stop", "last step of the window that rate/measured is fitted to", "GD step"
    ),
)
