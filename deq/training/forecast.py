"""Forecasts: the theory's numbers and curves for a trial, from its network at t = 0."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import TrialConfig
from deq.data import load
from deq.data.dataset import Dataset
from deq.theory.convergence import Initial, InitialCondition
from deq.theory.heavy_ball import optimum
from deq.theory.population import MARGIN, Population, limit_of
from deq.theory.rate_fit import is_resolved, window_rate
from deq.theory.rates import LinearDynamics, asymptotic_rate, bound_rate
from deq.training.gradient_descent import GradientDescent
from deq.training.step_size import trial_condition
from deq.training.training_run import TrainingRun

# Most points in the fit of a predicted curve; longer windows are thinned evenly.
_POINTS = 20_001
# Why what the theorem says is left out where W, U and a have step sizes of their own.
ONE_STEP_ONLY = (
    "the theorem is about one step size: train.factor_w, train.factor_u, train.factor_a or "
    "train.factor_bias is not 1"
)


@dataclass(frozen=True)
class Forecast:
    """The theorem, the linearisation and the infinite-width limit of one trial.

    Source: docs/theory.md, sections 3 to 6.

    Attributes:
        config: the trial.
        dataset: its inputs and targets.
        initial: its network at t = 0.
        eta: its step size in absolute terms.
        condition: the theorem's condition at the best delta; None when L ||W(0)||_2 >= 1.
        limit: the population limit; None when it does not exist.
        no_limit: why the limit does not exist; empty otherwise.
    """

    config: TrialConfig
    dataset: Dataset
    initial: Initial
    eta: float
    condition: InitialCondition | None
    limit: Population | None
    no_limit: str = ""

    @functools.cached_property
    def linearized(self) -> LinearDynamics:
        """Linear dynamics of H(0) and e(0)."""
        return LinearDynamics.of_network(self.initial, self.eta, self.config.train.momentum)

    @functools.cached_property
    def population(self) -> LinearDynamics | None:
        """Linear dynamics of H_inf and E[c_k^2]; None without a limit. Needs no network."""
        if self.limit is None:
            return None
        model = self.config.model
        return LinearDynamics.of_population(
            self.limit,
            self.dataset.y,
            model.width,
            model.sigma_a,
            self.eta,
            self.config.train.momentum,
            self.config.block_steps(len(self.dataset.x)),
        )

    @property
    def lipschitz(self) -> float:
        """Lipschitz constant L of the trial's activation."""
        return activation(self.config.model.activation).lipschitz

    @functools.cached_property
    def bound(self) -> float | None:
        """The theorem's rate, nats per GD step; None if void or if lambda_0 is rounding.

        None also if W, U and a have step sizes of their own: the theorem is about one.
        """
        covered = self.initial.resolved and self.config.train.one_step
        return bound_rate(self.eta, self.initial.lambda_0) if covered else None

    @property
    def condition_held(self) -> bool:
        """True if (7) to (10) hold."""
        plain = self.config.train.plain
        return plain and self.condition is not None and self.condition.held_at(self.eta)

    @property
    def contraction(self) -> float | None:
        """Contraction factor of the equilibrium's and the adjoint's map.

        sqrt(2 sigma_w2 E[phi'^2]), the radius of the disc that the eigenvalues of D_i W
        fill. Without a limit L ||W(0)||_2, or None if that is not below 1.
        """
        if self.limit is not None:
            slope = float(self.limit.gram_dot.diagonal().amax())
            return math.sqrt(2 * self.config.model.sigma_w2 * slope)
        factor = self.lipschitz * self.initial.norm_w
        return factor if factor < 1 else None

    def theory(self) -> tuple[dict[str, float], dict[str, str]]:
        """Return the numbers that need no window, by metric name, and why others are missing.

        rate/population_bound is the theorem's rate with m lambda_star in place of lambda_0:
        no guarantee, but what the bound tends to.
        """
        lambda_0, width = self.initial.lambda_0, self.config.model.width
        summary = {
            "train/eta": self.eta,
            "theory/lambda_0": max(lambda_0, 0.0),  # of a singular G rounding may be less
            "theory/lambda_0_over_m": max(lambda_0, 0.0) / width,
        }
        notes: dict[str, str] = {}
        if self.config.train.plain:
            summary["theory/condition_held"] = float(self.condition_held)
        else:
            notes["theory/condition_held"] = (
                "the theorem is about gradient descent on all samples, with one step size and "
                "without momentum"
            )
        h = self.linearized.eigenvalues.tolist()
        best = optimum(h[0], h[-1])
        if best is not None and h[0] > self.linearized.rounding / self.eta:
            summary["theory/heavy_ball_eta"] = best.eta
            summary["theory/heavy_ball_momentum"] = best.momentum
            summary["rate/heavy_ball"] = best.rate
        _put(summary, notes, "rate/bound", self.bound, self._void(lambda_0, self.initial.resolved))
        _put_mode(summary, notes, "rate/asymptotic", self.linearized)
        self._condition(summary, notes)
        self._population(summary, notes)
        return summary, notes

    def rates(self, start: float, stop: float) -> tuple[dict[str, float], dict[str, str]]:
        """Return rate/linearized and rate/population, and why one is missing.

        Args:
            start: first GD step of the window.
            stop: last GD step of the window.
        """
        count = min(int(stop - start) + 1, _POINTS)
        steps = torch.linspace(start, stop, count, dtype=torch.float64).round()
        summary: dict[str, float] = {}
        notes: dict[str, str] = {}
        why = f"steps {start:g} to {stop:g} are too few, or the predicted loss overflows there"
        for name, dynamics in (
            ("rate/linearized", self.linearized),
            ("rate/population", self.population),
        ):
            if dynamics is not None:
                curve = dynamics.log_loss(steps)
                rate = window_rate(steps, curve, start, stop)
                if rate is None or is_resolved(rate, steps, curve, dynamics.rounding):
                    _put(summary, notes, name, rate, why)
                else:
                    notes[name] = (
                        f"over steps {start:g} to {stop:g} the predicted loss does not move: "
                        f"{rate:.1g} nats a step is rounding"
                    )
        return summary, notes

    def log_bound(self, log_start: float, steps: Tensor) -> Tensor:
        """Return log of the theorem's bound at `steps`; NaN if void.

        log Phi(0) + t log(1 - eta lambda_0 / 2).

        Args:
            log_start: log Phi(0).
            steps: (T,) GD steps t.
        """
        return log_start - (math.nan if self.bound is None else self.bound) * steps

    def _void(self, value: float, resolved: bool) -> str:
        if not self.config.train.one_step:
            return ONE_STEP_ONLY
        rounding = "" if resolved else ", and lambda_0 above rounding"
        return (
            f"the bound needs 0 < eta lambda_0 / 2 < 1{rounding}: it is {self.eta * value / 2:.3g}"
        )

    def _condition(self, summary: dict[str, float], notes: dict[str, str]) -> None:
        condition = self.condition
        if not self.config.train.one_step:
            notes["theory/slack"] = ONE_STEP_ONLY
            return
        if condition is None:
            norm = self.initial.norm_w
            notes["theory/slack"] = f"L ||W(0)||_2 >= 1 (||W(0)||_2 = {norm:.4g}): no delta fits"
            return
        summary |= {
            "theory/slack_7": condition.slack_7,
            "theory/slack_8": condition.slack_8,
            "theory/slack_9": condition.slack_9,
            "theory/slack_9_strict": condition.slack_9_strict,
        }
        if not self.initial.resolved:
            why = "lambda_0 is not above 0, up to rounding: no delta satisfies (7) to (9)"
            notes |= dict.fromkeys(("theory/slack_10", "theory/delta", "theory/c_a"), why)
            return
        summary |= {
            "theory/slack_10": condition.eta_limit / self.eta,
            "theory/delta": condition.delta,
            "theory/c_a": condition.c_a_lipschitz,
        }
        if condition.c_a < condition.c_a_lipschitz:
            summary["theory/c_a_bounded"] = condition.c_a

    def _population(self, summary: dict[str, float], notes: dict[str, str]) -> None:
        if self.limit is None or self.population is None:
            notes["theory/lambda_star"] = notes["rate/population"] = self.no_limit
            return
        width = self.config.model.width
        difference = self.initial.gram / width - self.limit.gram
        summary["theory/gram_error"] = float(torch.linalg.matrix_norm(difference))
        _put_mode(summary, notes, "rate/population_asymptotic", self.population)
        error = self.limit.lambda_star_error
        why = "2 sigma_w2 E[phi'^2] may be 1: what is known of phi does not bound the error of K"
        _put(summary, notes, "theory/lambda_star_error", error, why)
        if not self.limit.resolved:
            why = (
                f"lambda_star is not resolved: it is {self.limit.lambda_star:.2g}, less than "
                f"{MARGIN:g} times its error bound, {error:.2g}"
            )
            notes["theory/lambda_star"] = notes["rate/population_bound"] = why
            return
        least = self.limit.lambda_star
        summary["theory/lambda_star"] = least
        summary["theory/lambda_0_over_m_lambda_star"] = self.initial.lambda_0 / (width * least)
        rate = bound_rate(self.eta, width * least) if self.config.train.one_step else None
        _put(summary, notes, "rate/population_bound", rate, self._void(width * least, True))


def forecast(
    config: TrialConfig, dataset: Dataset | None = None, *, device: str = "cpu"
) -> Forecast:
    """Draw a trial's network, solve its equilibrium and adjoint at t = 0, and forecast.

    Source: docs/theory.md, sections 3 to 6.

    Args:
        config: the trial.
        dataset: inputs and targets; by default those of `config.data`.
        device: cpu, cuda, cuda:1.

    Raises:
        ValueError: the data set cannot be used, the step size does not exist, the network
            has no equilibrium, or no drawn network met the initial condition
            (`model.init=redraw`).
    """
    dataset = dataset or load(config.data)
    descent = GradientDescent([config], [dataset], device)
    next(iter(descent))
    run = descent.runs[0]
    if run.initial is None:
        raise ValueError(f"there is no theory: {run.reason}")
    return predict(config, dataset, run.initial, run.eta)


def predict(config: TrialConfig, dataset: Dataset, initial: Initial, eta: float) -> Forecast:
    """Forecast a trial from its network at t = 0 and its absolute step size."""
    limit, missing = None, ""
    try:
        limit = limit_of(config.model, dataset.x)
    except ValueError as error:
        missing = str(error)
    condition = trial_condition(config, initial, eta)
    return Forecast(config, dataset, initial, eta, condition, limit, missing)


def curves_of(run: TrainingRun) -> Forecast:
    """Return a forecast for the curves of a trial in training; no conditions, no limit."""
    assert run.initial is not None, "there is no equilibrium at t = 0"
    return Forecast(run.config, run.dataset, run.initial, run.eta, None, None)


def last_half(steps: int) -> tuple[float, float]:
    """Return the default window of a forecast: first and last GD step."""
    return steps / 2, float(steps)


def _put(
    summary: dict[str, float], notes: dict[str, str], name: str, value: float | None, why: str
) -> None:
    if value is None or not math.isfinite(value):
        notes[name] = why
    else:
        summary[name] = value


def _put_mode(
    summary: dict[str, float], notes: dict[str, str], name: str, dynamics: LinearDynamics
) -> None:
    h = float(dynamics.eigenvalues[0])
    why = f"the slowest mode does not decay: eta lambda_min(H) = {dynamics.eta * h:.3g}"
    rate = asymptotic_rate(dynamics.eta, h, dynamics.momentum)
    if rate is not None and rate <= dynamics.rounding:
        rate, why = None, f"{why}, which is rounding"
    _put(summary, notes, name, rate, why)
