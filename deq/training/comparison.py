"""The outcome of a trial: measured numbers beside the theory's bound and predictions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.activations.properties import has_kink
from deq.config import TrialConfig
from deq.data import load
from deq.data.dataset import Dataset
from deq.theory.convergence import Initial
from deq.theory.flags import FLOOR_MARGIN, Numbers, bound_flags, weight_flags
from deq.theory.high_dimension import equivalent_numbers
from deq.theory.rate_fit import RateFit, end_rates, fit_rate
from deq.theory.rates import effective_eigenvalue
from deq.theory.single_index import single_index_numbers
from deq.training.checkpoint import Checkpoint
from deq.training.course import COLUMNS, Course, Status
from deq.training.distance import sphere_numbers
from deq.training.finite_depth import depth_numbers
from deq.training.forecast import Forecast, predict
from deq.training.gradient_descent import Descent
from deq.training.held_out import Dynamics, losses


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        status: how it ended.
        reason: one sentence on why it ended.
        trajectory: columns (T,) float64, NaN where not measured: those of COLUMNS, then
            log_loss_linearized, log_loss_bound and log_loss_population, the predicted curves
            of log Phi.
        summary: finite numbers of the comparison by metric name.
        notes: for each missing metric, why it is missing.
    """

    status: Status
    reason: str
    trajectory: dict[str, Tensor]
    summary: dict[str, float]
    notes: dict[str, str]


def train(config: TrialConfig, dataset: Dataset | None = None, *, device: str = "cpu") -> Outcome:
    """Train one trial to its end and compare it with theory.

    Args:
        config: the trial.
        dataset: inputs and targets; by default those of `config.data`.
        device: cpu, cuda, cuda:1.

    Raises:
        ValueError: the data set cannot be used, or the step size does not exist.
    """
    descent = Descent([config], [dataset or load(config.data)], device)
    for _ in descent:
        pass
    return compare(descent.courses[0])


def train_pack(
    configs: Sequence[TrialConfig],
    *,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
    keep_weights: bool = False,
) -> Iterator[Descent]:
    """Train trials of one shape together; yield the descent after every GD step.

    Args:
        configs: the trials.
        device: cpu, cuda, cuda:1; of no effect on a checkpoint.
        checkpoint: where to continue; its tensors move into the descent.
        keep_weights: whether `Descent.weights` also serves trials that have ended.

    Raises:
        ValueError: as `train`, or the trials differ in shape.
        UnusableError: the checkpoint is not one of these trials.
    """
    loaded = {data: load(data) for data in {config.data for config in configs}}
    datasets = [loaded[config.data] for config in configs]
    if checkpoint is None:
        descent = Descent(configs, datasets, device, keep_weights=keep_weights)
    else:
        descent = checkpoint.descent(configs, datasets, keep_weights=keep_weights)
    for _ in descent:
        yield descent


def compare(course: Course) -> Outcome:
    """Compare a course that has ended with theory (docs/theory.md, section 6).

    Raises:
        ValueError: the course is still training.
    """
    if course.status is None:
        raise ValueError("the trial is still training: compare it when it has ended")
    summary, notes = _cost(course)
    if course.config.model.init == "redraw":
        summary["theory/networks_drawn"] = course.drawn
    if course.initial is None:
        notes["theory"] = notes["rate"] = f"the trial ended at step 0: {course.reason}"
        return Outcome(course.status, course.reason, _measured(course), summary, notes)
    forecast = predict(course.config, course.dataset, course.initial, course.eta)
    trajectory = columns(course, forecast)
    log_floor = _log_floor(course, course.initial, trajectory)
    theory = forecast.theory()
    for numbers, missing in (
        theory,
        bound_flags(trajectory, log_floor),
        weight_flags(trajectory, course.initial, forecast.lipschitz),
        depth_numbers(course.config, course.dataset, course.initial.norm_w, forecast.limit),
        _equivalents(course, forecast),
        _movement(course, trajectory, theory[0].get("theory/delta")),
        sphere_numbers(course.config.train, course.sphere, course.output_sphere),
        _generalisation(course),
        single_index_numbers(course.config, course.dataset, course.eta),
        _rates(course, forecast, trajectory, log_floor),
    ):
        summary, notes = summary | numbers, notes | missing
    end, predicted = summary.get("rate/measured_end"), summary.get("rate/single_index")
    if end is not None and predicted:
        summary["rate/measured_end_over_single_index"] = end / predicted
    finite = {name: value for name, value in summary.items() if math.isfinite(value)}
    return Outcome(course.status, course.reason, trajectory, finite, notes)


def columns(
    course: Course, forecast: Forecast, first: int = 0, end: int | None = None
) -> dict[str, Tensor]:
    """Return the columns of a trajectory and its predicted curves; (T,) float64 each.

    A row's numbers do not depend on `first` and `end`, so that a live trial can be shown
    part by part.

    Args:
        course: a trial that has an equilibrium at t = 0; it may still be training.
        forecast: of this trial.
        first: index of the first row.
        end: index after the last row; None for all.
    """
    table = _measured(course, first, end)
    start = float(torch.tensor([course.rows[0]["loss"]], dtype=torch.float64).log())
    table["log_loss_linearized"] = forecast.linearized.log_loss(table["step"])
    table["log_loss_bound"] = forecast.log_bound(start, table["step"])
    limit = forecast.population
    missing = torch.full_like(table["step"], torch.nan)
    table["log_loss_population"] = missing if limit is None else limit.log_loss(table["step"])
    return table


def _measured(course: Course, first: int = 0, end: int | None = None) -> dict[str, Tensor]:
    rows = course.rows[first:end]
    return {
        name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in COLUMNS
    }


def _cost(course: Course) -> Numbers:
    """Return what the trial cost, and what the checks of its windows found."""
    train = course.config.train
    summary = {
        "time/seconds": course.seconds,
        "time/seconds_per_step": course.seconds / max(len(course.rows), 1),
        "solver/products_total": course.products,
    }
    if train.integrator == "steps":
        return summary, {}
    notes = []
    if not course.config.windows_are_taken:
        notes.append("single steps were taken: past the limit of sigma_w2 a kink allows no windows")
    elif math.isfinite(course.window_check):
        summary["solver/window_check"] = course.window_check
    else:
        notes.append("no window was taken")
    if course.windows_refused:
        count = course.windows_refused
        were = "1 window was" if count == 1 else f"{count} windows were"
        notes.append(f"{were} not taken: the check failed")
    if has_kink(course.config.model.activation):
        for name in ("crossing", "sliding", "undecided"):
            summary[f"solver/{name}"] = getattr(course, name)
    if course.sliding:
        notes.append(
            f"{course.sliding} pre-activations slid along zero in a window: the loss is right to "
            "1e-3, lambda_min(H), the gradient's norm and the drift of H at single steps to less"
        )
    if course.weighty:
        notes.append(
            f"{course.weighty} pre-activations that would change the rate only touch zero or just "
            "pass it: no window tells which, and single steps were taken there"
        )
    tol = course.config.integrator_tol
    if course.window_tol > tol:
        notes.append(
            f"rounding in {course.config.dtype} does not allow train.integrator_tol="
            f"{tol:g} at small losses: there it was "
            f"{course.window_tol:.2g} at most"
        )
    return summary, {"solver/window_check": "; ".join(notes)} if notes else {}


def _rates(
    course: Course, forecast: Forecast, trajectory: dict[str, Tensor], log_floor: Tensor
) -> Numbers:
    """Fit the measured rate, and the predicted rates over the same window."""
    if course.status is Status.STOPPED:
        return {}, {"rate/measured": f"it is censored: {course.reason}"}
    if course.status in (Status.DIVERGED, Status.ILL_POSED):
        return {}, {"rate/measured": f"the trial is {course.status}: {course.reason}"}
    fit = _fit(course, trajectory, log_floor)
    summary, notes = _over_window(fit, forecast)
    if fit.rate is None or fit.stderr is None:
        return summary, notes | {"rate/measured": _why_unmeasured(course, fit)}
    summary |= {
        "rate/measured": fit.rate,
        "rate/measured_stderr": fit.stderr,
    }
    momentum = course.config.train.momentum
    if not momentum:
        eigenvalue = effective_eigenvalue(course.eta, fit.rate)
        summary["rate/effective_eigenvalue"] = eigenvalue
    for name, value in (("bound", forecast.bound), ("linearized", summary.get("rate/linearized"))):
        if value and value > 0:
            summary[f"rate/measured_over_{name}"] = fit.rate / value
    rounding = forecast.linearized.rounding
    end, missing = end_rates(course.eta, trajectory, fit, momentum, rounding)
    return summary | end, notes | missing


def _why_unmeasured(course: Course, fit: RateFit) -> str:
    if course.status is not Status.STALLED:
        return fit.reason
    if fit.start is None:
        return (
            f"{course.reason}, and too few steps were above {FLOOR_MARGIN:g} times its least value"
        )
    return f"{fit.reason}; {course.reason}"


def _equivalents(course: Course, forecast: Forecast) -> Numbers:
    """Return how far K is from its equivalents, if that is asked for and K exists."""
    if not course.config.diagnostics.high_dimension or forecast.limit is None:
        return {}, {}
    return equivalent_numbers(forecast.limit, course.config.model, course.dataset.y), {}


def _generalisation(course: Course) -> Numbers:
    """Return the losses at the held-out samples, if there are any."""
    assert course.initial is not None
    at = Dynamics(course.eta, course.rows[-1]["step"], course.config.train.momentum)
    return losses(course.config, course.dataset, course.initial, course.held_out, at)


def _movement(course: Course, trajectory: dict[str, Tensor], delta: float | None) -> Numbers:
    """Return how far the weights and the tangent kernel moved to the trial's end."""
    drift = trajectory["kernel_drift"]
    measured = drift[~drift.isnan()].tolist()
    summary = {} if delta is None else {"theory/distance_over_delta": course.farthest / delta}
    notes: dict[str, str] = {}
    if len(measured) == 1:
        notes["theory/kernel_drift"] = "H was measured once: the trial ended before it could change"
    return summary | {
        "train/distance": course.moved,
        "train/distance_relative": course.moved / course.size,
        "theory/kernel_drift": measured[-1] if len(measured) > 1 else math.nan,
    }, notes


def _fit(course: Course, trajectory: dict[str, Tensor], log_floor: Tensor) -> RateFit:
    """Fit the measured rate; a loss that has stopped falling has reached its floor."""
    log_loss = trajectory["loss"].log()
    if course.status is Status.STALLED:
        log_floor = log_floor.clamp_min(float(log_loss.amin()) + math.log(FLOOR_MARGIN))
    return fit_rate(trajectory["step"], log_loss, log_floor)


def _over_window(fit: RateFit, forecast: Forecast) -> Numbers:
    """Return the window of a fit, its quality, and the predicted rates over this window."""
    summary: dict[str, float] = {}
    notes: dict[str, str] = {}
    if fit.start is not None and fit.stop is not None:
        predicted, notes = forecast.rates(fit.start, fit.stop)
        summary = {"rate/window_start": fit.start, "rate/window_stop": fit.stop} | predicted
    for name, value in (("measured_r2", fit.r2), ("oscillation", fit.oscillation)):
        if value is not None:
            summary[f"rate/{name}"] = value
    return summary, notes


def _log_floor(course: Course, initial: Initial, trajectory: dict[str, Tensor]) -> Tensor:
    """Return log of the loss that errors in the equilibria alone can cause; (T,).

    A residual r means an error of at most r ||z|| / (1 - L ||W||_2) in an equilibrium,
    which moves yhat by ||a|| times that; rounding counts like a residual. A window's yhat is
    corrected by the residual, so that rounding is left, which may be larger than at a step.
    """
    model = course.config.model
    gap = max(1 - activation(model.activation).lipschitz * initial.norm_w, 1e-3)
    norm_z = math.sqrt(float(initial.gram.diagonal().amax()))
    windows = course.config.train.integrator == "windows"
    residual = trajectory["rounding"] + (0.0 if windows else trajectory["residual"])
    error = residual * (initial.norm_a * norm_z / gap)
    loss = initial.error.shape[0] / 2 * error**2
    if windows:
        loss = loss + course.window_floor**2 / 2
    return torch.log(FLOOR_MARGIN * loss)
