"""What the theory says of a trial before it is trained: from its network at t = 0."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import TrialConfig
from deq.data import load
from deq.data.dataset import Dataset
from deq.theory.convergence import Initial, InitialCondition, initial_condition
from deq.theory.population import Population, population
from deq.theory.rate_fit import window_rate
from deq.theory.rates import LinearDynamics, asymptotic_rate, bound_rate
from deq.training.course import Course
from deq.training.gradient_descent import Descent

# The most points a predicted curve is fitted by; longer windows are thinned evenly.
_POINTS = 20_001


@dataclass(frozen=True)
class Forecast:
    """The theorem, the linearisation and the infinite-width limit of one trial.

    Attributes:
        config: the trial.
        dataset: what it trains on.
        initial: its network at t = 0.
        eta: its step size in absolute terms.
        condition: the theorem's condition at the best delta; None when L ||W(0)||_2 >= 1.
        limit: the population limit; None when there is none.
        no_limit: why not; empty otherwise.
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
        """The dynamics of H(0) and e(0)."""
        return LinearDynamics.of_network(self.initial, self.eta)

    @functools.cached_property
    def population(self) -> LinearDynamics | None:
        """The dynamics of H_inf and the expectation of e(0)'s squares: needs no network."""
        if self.limit is None:
            return None
        model = self.config.model
        return LinearDynamics.of_population(
            self.limit, self.dataset.y, model.width, model.sigma_a, self.eta
        )

    @property
    def lipschitz(self) -> float:
        """L of the trial's activation."""
        return activation(self.config.model.activation).lipschitz

    @functools.cached_property
    def bound(self) -> float | None:
        """The theorem's rate; None where it is void or lambda_0 is not resolved."""
        return bound_rate(self.eta, self.initial.lambda_0) if self.initial.resolved else None

    @property
    def condition_held(self) -> bool:
        """Whether (7) to (10) hold."""
        found = self.condition
        return found is not None and found.held and found.eta_limit >= self.eta

    @property
    def contraction(self) -> float | None:
        """Factor by which a map brings iterates closer, and an adjoint map too.

        sqrt(2 sigma_w2 E[phi'^2]), the radius of the disc that the eigenvalues of D_i W
        fill; L ||W(0)||_2 where there is no limit; None where that is not below 1.
        """
        if self.limit is not None:
            slope = float(self.limit.gram_dot.diagonal().amax())
            return math.sqrt(2 * self.config.model.sigma_w2 * slope)
        factor = self.lipschitz * self.initial.norm_w
        return factor if factor < 1 else None

    def theory(self) -> tuple[dict[str, float], dict[str, str]]:
        """The numbers that need no window, by metric name, and why others are absent.

        rate/population_bound is the theorem's rate with m lambda_star for lambda_0: no
        guarantee, but what the guarantee tends to.
        """
        lambda_0, width = self.initial.lambda_0, self.config.model.width
        summary = {
            "train/eta": self.eta,
            "theory/lambda_0": lambda_0,
            "theory/lambda_0_over_m": lambda_0 / width,
            "theory/condition_held": float(self.condition_held),
        }
        notes: dict[str, str] = {}
        _put(summary, notes, "rate/bound", self.bound, self._void(lambda_0, self.initial.resolved))
        _put_mode(summary, notes, "rate/asymptotic", self.linearized)
        self._condition(summary, notes)
        self._population(summary, notes)
        return summary, notes

    def rates(self, start: float, stop: float) -> tuple[dict[str, float], dict[str, str]]:
        """rate/linearized and rate/population: of the two predicted curves over a window."""
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
                rate = window_rate(steps, dynamics.log_loss(steps), start, stop)
                _put(summary, notes, name, rate, why)
        return summary, notes

    def log_bound(self, log_start: float, steps: Tensor) -> Tensor:
        """log of the theorem's bound from log Phi(0); NaN where it is void."""
        return log_start - (math.nan if self.bound is None else self.bound) * steps

    def _void(self, value: float, resolved: bool) -> str:
        rounding = "" if resolved else ", and lambda_0 above rounding"
        return (
            f"the bound needs 0 < eta lambda_0 / 2 < 1{rounding}: it is {self.eta * value / 2:.3g}"
        )

    def _condition(self, summary: dict[str, float], notes: dict[str, str]) -> None:
        found = self.condition
        if found is None:
            norm = self.initial.norm_w
            notes["theory/slack"] = f"L ||W(0)||_2 >= 1 (||W(0)||_2 = {norm:.4g}): no delta fits"
            return
        summary |= {
            "theory/delta": found.delta,
            "theory/slack_7": found.slack_7,
            "theory/slack_8": found.slack_8,
            "theory/slack_9": found.slack_9,
            "theory/slack_10": found.eta_limit / self.eta,
        }

    def _population(self, summary: dict[str, float], notes: dict[str, str]) -> None:
        if self.limit is None or self.population is None:
            notes["theory/lambda_star"] = notes["rate/population"] = self.no_limit
            return
        width = self.config.model.width
        difference = self.initial.gram / width - self.limit.gram
        summary["theory/gram_error"] = float(torch.linalg.matrix_norm(difference))
        _put_mode(summary, notes, "rate/population_asymptotic", self.population)
        if not self.limit.resolved:
            why = "lambda_star is not resolved: it is smaller than its error bound"
            notes["theory/lambda_star"] = notes["rate/population_bound"] = why
            return
        least = self.limit.lambda_star
        summary["theory/lambda_star"] = least
        rate = bound_rate(self.eta, width * least)
        _put(summary, notes, "rate/population_bound", rate, self._void(width * least, True))


def forecast(
    config: TrialConfig, dataset: Dataset | None = None, *, device: str = "cpu"
) -> Forecast:
    """Draw a trial's network, solve its equilibrium and adjoint at t = 0, and train nothing.

    Args:
        config: the trial.
        dataset: what it would train on; that of `config.data` by default.
        device: where: cpu, cuda, cuda:1.

    Raises:
        ValueError: the data set cannot be used, the step size does not exist, the network
            has no equilibrium, or none that was redrawn met the initial condition.
    """
    dataset = dataset or load(config.data)
    descent = Descent([config], [dataset], device)
    next(iter(descent))
    course = descent.courses[0]
    if course.initial is None:
        raise ValueError(f"there is no theory: {course.reason}")
    return foresee(config, dataset, course.initial, course.eta)


def foresee(config: TrialConfig, dataset: Dataset, initial: Initial, eta: float) -> Forecast:
    """The forecast of a trial whose network at t = 0 is known."""
    model, limit, missing = config.model, None, ""
    try:
        limit = population(
            dataset.x, model.activation, sigma_w2=model.sigma_w2, sigma_a=model.sigma_a
        )
    except ValueError as error:
        missing = str(error)
    return Forecast(
        config, dataset, initial, eta, initial_condition(initial, model), limit, missing
    )


def curves_of(course: Course) -> Forecast:
    """The predicted curves of a trial that is still training, without conditions and limits."""
    assert course.initial is not None, "there is no equilibrium at t = 0"
    return Forecast(course.config, course.dataset, course.initial, course.eta, None, None)


def last_half(steps: int) -> tuple[float, float]:
    """The window of a forecast, where no measured fit gives one."""
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
    _put(summary, notes, name, asymptotic_rate(dynamics.eta, h), why)
