"""A trial's outcome: what the theory guarantees and predicts beside what was measured."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations import activation
from deq.convergence import Initial, initial_condition
from deq.course import COLUMNS, Course, Status
from deq.data import Dataset, load
from deq.population import population
from deq.rates import (
    asymptotic_rate,
    bound_rate,
    fit_rate,
    linearized_log_loss,
    window_rate,
)
from deq.spectrum import least_eigenvalue
from deq.training import Descent
from deq.trial import TrialConfig

# A loss is fitted only where it exceeds the error of its own evaluation so many times.
FLOOR_MARGIN = 100.0


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        status: how it ended.
        reason: one sentence on why.
        trajectory: columns of equal length (T,), float64, NaN where not measured; the
            measured ones, then log_loss_linearized and log_loss_bound, the predicted
            curves of log Phi.
        summary: the numbers of the comparison by their metric names; what does not
            exist for this trial is absent.
        notes: why something is absent, by what is missing.
    """

    status: Status
    reason: str
    trajectory: dict[str, Tensor]
    summary: dict[str, float]
    notes: dict[str, str]


def train(config: TrialConfig, dataset: Dataset | None = None, *, device: str = "cpu") -> Outcome:
    """Train one trial to its end and set theory beside it.

    Args:
        config: the trial.
        dataset: what to train on; that of `config.data` by default.
        device: where: cpu, cuda, cuda:1.

    Raises:
        ValueError: the data set cannot be used, or the step size does not exist.
    """
    descent = Descent([config], [dataset or load(config.data)], device)
    for _ in descent:
        pass
    return compare(descent.courses[0])


def train_pack(configs: Sequence[TrialConfig], *, device: str = "cpu") -> Iterator[Descent]:
    """Train trials of one shape together, yielding the descent after every GD step."""
    loaded = {data: load(data) for data in {config.data for config in configs}}
    descent = Descent(configs, [loaded[config.data] for config in configs], device)
    for _ in descent:
        yield descent


def compare(course: Course) -> Outcome:
    """The outcome of a course that has ended.

    Raises:
        ValueError: it is still training.
    """
    if course.status is None:
        raise ValueError("the trial is still training: compare it when it has ended")
    rows = course.rows
    trajectory = {
        name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in COLUMNS
    }
    summary = _times(course)
    notes: dict[str, str] = {}
    if course.initial is None:
        notes["theory"] = notes["rate"] = f"there was no equilibrium at step 0: {course.reason}"
        return Outcome(course.status, course.reason, trajectory, summary, notes)
    _theory(course, course.initial, summary, notes)
    _rates(course, course.initial, trajectory, summary, notes)
    finite = {name: value for name, value in summary.items() if math.isfinite(value)}
    return Outcome(course.status, course.reason, trajectory, finite, notes)


def _times(course: Course) -> dict[str, float]:
    per_step = course.seconds / max(len(course.rows), 1)
    return {"time/seconds": course.seconds, "time/seconds_per_step": per_step}


def _theory(
    course: Course, initial: Initial, summary: dict[str, float], notes: dict[str, str]
) -> None:
    """lambda_0, the initial condition, and the population limit."""
    model, eta = course.config.model, course.eta
    lambda_0 = initial.lambda_0
    summary |= {
        "train/eta": eta,
        "theory/lambda_0": lambda_0,
        "theory/lambda_0_over_m": lambda_0 / model.width,
    }
    _put(summary, "rate/bound", bound_rate(eta, lambda_0))
    if "rate/bound" not in summary:
        notes["rate/bound"] = (
            f"the bound needs 0 < eta lambda_0 / 2 < 1, not {eta * lambda_0 / 2:.3g}"
        )
    condition = initial_condition(initial, model)
    if condition is None:
        notes["theory/slack"] = f"L ||W(0)||_2 >= 1 (||W(0)||_2 = {initial.norm_w:.4g})"
    else:
        summary |= {
            "theory/delta": condition.delta,
            "theory/slack_7": condition.slack_7,
            "theory/slack_8": condition.slack_8,
            "theory/slack_9": condition.slack_9,
            "theory/slack_10": condition.eta_limit / eta,
        }
    try:
        limit = population(
            course.dataset.x, model.activation, sigma_w2=model.sigma_w2, sigma_a=model.sigma_a
        )
    except ValueError as error:
        notes["theory/lambda_star"] = str(error)
        return
    summary["theory/gram_error"] = float(
        torch.linalg.matrix_norm(initial.gram / model.width - limit.gram)
    )
    if limit.resolved:
        summary["theory/lambda_star"] = limit.lambda_star
    else:
        notes["theory/lambda_star"] = "not resolved: it is smaller than its error bound"
    h_inf = float(least_eigenvalue(limit.tangent(model.width)))
    _put(summary, "rate/population", asymptotic_rate(eta, h_inf))


def _rates(
    course: Course,
    initial: Initial,
    trajectory: dict[str, Tensor],
    summary: dict[str, float],
    notes: dict[str, str],
) -> None:
    """The measured rate, the linearised one over its window, and the bound along the way."""
    steps, log_loss = trajectory["step"], trajectory["loss"].log()
    log_linear = linearized_log_loss(initial, course.eta, steps)
    bound = summary.get("rate/bound", math.nan)
    trajectory["log_loss_linearized"] = log_linear
    trajectory["log_loss_bound"] = log_loss[0] - bound * steps
    log_floor = _log_floor(course, initial, trajectory)
    above = log_loss > log_floor
    if bool(above[1:].any()) and math.isfinite(bound):
        violation = (log_loss - trajectory["log_loss_bound"])[1:][above[1:]]
        summary["theory/bound_violation"] = float(violation.amax())
    measured = trajectory["lambda_min_gram"]
    known = measured[~measured.isnan()]
    if initial.lambda_0 > 0:
        summary["theory/lambda_ratio_min"] = float(known.amin()) / initial.lambda_0
    else:
        notes["theory/lambda_ratio_min"] = "lambda_0 is not above 0"
    _put(
        summary,
        "rate/asymptotic",
        asymptotic_rate(course.eta, float(least_eigenvalue(initial.tangent))),
    )
    if course.status in (Status.DIVERGED, Status.ILL_POSED):
        notes["rate/measured"] = f"the trial is {course.status}: {course.reason}"
        return
    fit = fit_rate(steps, log_loss, log_floor)
    _put(summary, "rate/measured_r2", fit.r2)
    _put(summary, "rate/window_start", fit.start)
    _put(summary, "rate/window_stop", fit.stop)
    linear = window_rate(steps, log_linear, fit)
    _put(summary, "rate/linearized", linear)
    if fit.rate is None or fit.stderr is None:
        notes["rate/measured"] = fit.reason
        return
    summary |= {"rate/measured": fit.rate, "rate/measured_stderr": fit.stderr}
    summary["rate/effective_eigenvalue"] = (1 - math.exp(-fit.rate / 2)) / course.eta
    if math.isfinite(bound):
        summary["rate/measured_over_bound"] = fit.rate / bound
    if linear:
        summary["rate/measured_over_linearized"] = fit.rate / linear


def _log_floor(course: Course, initial: Initial, trajectory: dict[str, Tensor]) -> Tensor:
    """log of the loss that errors in the equilibria alone could make; (T,).

    A residual r leaves an equilibrium wrong by at most r ||z|| / (1 - L ||W||_2), which
    moves yhat by ||a|| times that; rounding counts like a residual.
    """
    model = course.config.model
    gap = max(1 - activation(model.activation).lipschitz * initial.norm_w, 1e-3)
    norm_z = math.sqrt(float(initial.gram.diagonal().amax()))
    error = (trajectory["residual"] + trajectory["rounding"]) * (initial.norm_a * norm_z / gap)
    return torch.log(FLOOR_MARGIN * initial.error.shape[0] / 2 * error**2)


def _put(summary: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        summary[name] = float(value)
