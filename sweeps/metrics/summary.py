"""Summary metrics: one number for each finished trial."""

from sweeps.metrics.metric import Metric
from sweeps.metrics.rates import RATES
from sweeps.metrics.theory import THEORY

SUMMARY = (
    *RATES,
    *THEORY,
    Metric(
        "solver/products_total",
        "products with W a sample over the whole run, thin ones (n x n with n x m) counted n / m",
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
    Metric("time/seconds", "seconds of training: the pack's, divided among its trials", "s"),
    Metric(
        "time/seconds_per_step",
        "time/seconds divided by the number of recorded steps",
        "s / GD step",
    ),
    Metric("train/distance", "||theta(T) - theta(0)||_2 over W, U and a, T the last step"),
    Metric("train/distance_relative", "train/distance divided by ||theta(0)||_2"),
    Metric(
        "test/loss",
        "data.test_n: 1/2 mean (yhat - y)^2 over the held-out samples, yhat the trained network's",
    ),
    Metric(
        "test/loss_linearized",
        "data.test_n: 1/2 mean (yhat - y)^2 over the held-out samples, yhat the linearised "
        "network's (kernel H(0)) after as many GD steps",
    ),
    Metric(
        "test/loss_population",
        "data.test_n: 1/2 mean (yhat - y)^2 over the held-out samples, yhat of kernel "
        "regression with H_inf",
    ),
    Metric(
        "test/loss_gram",
        "data.test_n: 1/2 mean (yhat - y)^2 over the held-out samples, yhat of kernel "
        "regression with K",
    ),
    Metric("train/eta", "eta, the step size as a number, whatever train.eta_unit is"),
)
