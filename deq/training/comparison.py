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
from deq.training.distance import sphere_numbers
from deq.training.finite_depth import depth_numbers
from deq.training.forecast import Forecast, predict
from deq.training.gradient_descent import GradientDescent
from deq.training.held_out import Dynamics, losses
from deq.training.training_run import COLUMNS, Status, TrainingRun


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
    descent = GradientDescent([config], [dataset or load(config.data)], device)
    for _ in descent:
        pass
    return compare(descent.runs[0])


def train_pack(
    configs: Sequence[TrialConfig],
    *,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
    keep_weights: bool = False,
) -> Iterator[GradientDescent]:
    """Train trials of one shape together; yield the descent after every GD step.

    Args:
        configs: the trials.
        device: cpu, cuda, cuda:1; of no effect on a checkpoint.
        checkpoint: where to continue; its tensors move into the descent.
        keep_weights: whether `GradientDescent.weights` also serves trials that have ended.

    Raises:
        ValueError: as `train`, or the trials differ in shape.
        UnusableError: the checkpoint is not one of these trials.
    """
    loaded = {data: load(data) for data in {config.data for config in configs}}
    datasets = [loaded[config.data] for config in configs]
    if checkpoint is None:
        descent = GradientDescent(configs, datasets, device, keep_weights=keep_weights)
    else:
        descent = checkpoint.descent(configs, datasets, keep_weights=keep_weights)
    for _ in descent:
        yield descent


def compare(run: TrainingRun) -> Outcome:
    """Compare a run that has ended with theory (docs/theory.md, section 6).

    Raises:
        ValueError: the run is still training.
    """
    if run.status is None:
        raise ValueError("the trial is still training: compare it when it has ended")
    summary, notes = _cost(run)
    if run.config.model.init == "redraw":
        summary["theory/networks_drawn"] = run.drawn
    if run.initial is None:
        notes["theory"] = notes["rate"] = f"the trial ended at step 0: {run.reason}"
        return Outcome(run.status, run.reason, _measured(run), summary, notes)
    forecast = predict(run.config, run.dataset, run.initial, run.eta)
    trajectory = columns(run, forecast)
    log_floor = _log_floor(run, run.initial, trajectory)
    theory = forecast.theory()
    for numbers, missing in (
        theory,
        bound_flags(trajectory, log_floor),
        weight_flags(trajectory, run.initial, forecast.lipschitz),
        depth_numbers(run.config, run.dataset, run.initial.norm_w, forecast.limit),
        _equivalents(run, forecast),
        _movement(run, trajectory, theory[0].get("theory/delta")),
        sphere_numbers(run.config.train, run.sphere, run.output_sphere),
        _generalisation(run),
        single_index_numbers(run.config, run.dataset, run.eta),
        _rates(run, forecast, trajectory, log_floor),
    ):
        summary, notes = summary | numbers, notes | missing
    end, predicted = summary.get("rate/measured_end"), summary.get("rate/single_index")
    if end is not None and predicted:
        summary["rate/measured_end_over_single_index"] = end / predicted
    finite = {name: value for name, value in summary.items() if math.isfinite(value)}
    return Outcome(run.status, run.reason, trajectory, finite, notes)


def columns(
    run: TrainingRun, forecast: Forecast, first: int = 0, end: int | None = None
) -> dict[str, Tensor]:
    """Return the columns of a trajectory and its predicted curves; (T,) float64 each.

    A row's numbers do not depend on `first` and `end`, so that a live trial can be shown
    part by part.

    Args:
        run: a trial that has an equilibrium at t = 0; it may still be training.
        forecast: of this trial.
        first: index of the first row.
        end: index after the last row; None for all.
    """
    table = _measured(run, first, end)
    start = float(torch.tensor([run.rows[0]["loss"]], dtype=torch.float64).log())
    table["log_loss_linearized"] = forecast.linearized.log_loss(table["step"])
    table["log_loss_bound"] = forecast.log_bound(start, table["step"])
    limit = forecast.population
    missing = torch.full_like(table["step"], torch.nan)
    table["log_loss_population"] = missing if limit is None else limit.log_loss(table["step"])
    return table


def _measured(run: TrainingRun, first: int = 0, end: int | None = None) -> dict[str, Tensor]:
    rows = run.rows[first:end]
    return {
        name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in COLUMNS
    }


def _cost(run: TrainingRun) -> Numbers:
    """Return what the trial cost, and what the checks of its windows found."""
    train = run.config.train
    summary = {
        "time/seconds": run.seconds,
        "time/seconds_per_step": run.seconds / max(len(run.rows), 1),
        "solver/products_total": run.products,
    }
    if train.integrator == "steps":
        return summary, {}
    notes = []
    if not run.config.windows_are_taken:
        notes.append("single steps were taken: past the limit of sigma_w2 a kink allows no windows")
    elif math.isfinite(run.window_check):
        summary["solver/window_check"] = run.window_check
    else:
        done = "checked" if math.isfinite(run.window_tol) else "taken"
        notes.append(f"no window was {done}")
    if run.windows_refused:
        count = run.windows_refused
        were = "1 window was" if count == 1 else f"{count} windows were"
        notes.append(f"{were} not taken: the check failed")
    if has_kink(run.config.model.activation):
        for name in ("crossing", "sliding", "undecided"):
            summary[f"solver/{name}"] = getattr(run, name)
    if run.sliding:
        notes.append(
            f"{run.sliding} pre-activations slid along zero in a window: the loss is right to "
            "1e-3, lambda_min(H), the gradient's norm and the drift of H at single steps to less"
        )
    if run.weighty:
        notes.append(
            f"{run.weighty} pre-activations that would change the rate only touch zero or just "
            "pass it: no window tells which, and single steps were taken there"
        )
    tol = run.config.integrator_tol
    if run.window_tol > tol:
        notes.append(
            f"rounding in {run.config.dtype} does not allow train.integrator_tol="
            f"{tol:g} at small losses: there it was "
            f"{run.window_tol:.2g} at most"
        )
    return summary, {"solver/window_check": "; ".join(notes)} if notes else {}


def _rates(
    run: TrainingRun, forecast: Forecast, trajectory: dict[str, Tensor], log_floor: Tensor
) -> Numbers:
    """Fit the measured rate, and the predicted rates over the same window."""
    if run.status is Status.STOPPED:
        return {}, {"rate/measured": f"it is censored: {run.reason}"}
    if run.status in (Status.DIVERGED, Status.ILL_POSED):
        return {}, {"rate/measured": f"the trial is {run.status}: {run.reason}"}
    fit = _fit(run, trajectory, log_floor)
    summary, notes = _over_window(fit, forecast)
    if fit.rate is None or fit.stderr is None:
        return summary, notes | {"rate/measured": _why_unmeasured(run, fit)}
    summary |= {
        "rate/measured": fit.rate,
        "rate/measured_stderr": fit.stderr,
    }
    momentum = run.config.train.momentum
    if not momentum:
        eigenvalue = effective_eigenvalue(run.eta, fit.rate)
        summary["rate/effective_eigenvalue"] = eigenvalue
    for name, value in (("bound", forecast.bound), ("linearized", summary.get("rate/linearized"))):
        if value and value > 0:
            summary[f"rate/measured_over_{name}"] = fit.rate / value
    rounding = forecast.linearized.rounding
    end, missing = end_rates(run.eta, trajectory, fit, momentum, rounding)
    return summary | end, notes | missing


def _why_unmeasured(run: TrainingRun, fit: RateFit) -> str:
    if run.status is not Status.STALLED:
        return fit.reason
    if fit.start is None:
        return f"{run.reason}, and too few steps were above {FLOOR_MARGIN:g} times its least value"
    return f"{fit.reason}; {run.reason}"


def _equivalents(run: TrainingRun, forecast: Forecast) -> Numbers:
    """Return how far K is from its equivalents, if that is asked for and K exists."""
    if not run.config.diagnostics.high_dimension or forecast.limit is None:
        return {}, {}
    return equivalent_numbers(forecast.limit, run.config.model, run.dataset.y), {}


def _generalisation(run: TrainingRun) -> Numbers:
    """Return the losses at the held-out samples, if there are any."""
    assert run.initial is not None
    at = Dynamics(run.eta, run.rows[-1]["step"], run.config.train.momentum)
    return losses(run.config, run.dataset, run.initial, run.held_out, at)


def _movement(run: TrainingRun, trajectory: dict[str, Tensor], delta: float | None) -> Numbers:
    """Return how far the weights and the tangent kernel moved to the trial's end."""
    drift = trajectory["kernel_drift"]
    measured = drift[~drift.isnan()].tolist()
    summary = {} if delta is None else {"theory/distance_over_delta": run.farthest / delta}
    notes: dict[str, str] = {}
    if len(measured) == 1:
        notes["theory/kernel_drift"] = "H was measured once: the trial ended before it could change"
    return summary | {
        "train/distance": run.moved,
        "train/distance_relative": run.moved / run.size,
        "theory/kernel_drift": measured[-1] if len(measured) > 1 else math.nan,
    }, notes


def _fit(run: TrainingRun, trajectory: dict[str, Tensor], log_floor: Tensor) -> RateFit:
    """Fit the measured rate; a loss that has stopped falling has reached its floor."""
    log_loss = trajectory["loss"].log()
    if run.status is Status.STALLED:
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


def _log_floor(run: TrainingRun, initial: Initial, trajectory: dict[str, Tensor]) -> Tensor:
    """Return log of the loss that errors in the equilibria alone can cause; (T,).

    A residual r means an error of at most r ||z|| / (1 - L ||W||_2) in an equilibrium,
    which moves yhat by ||a|| times that; rounding counts like a residual. A window's yhat is
    corrected by the residual, so that rounding is left, which may be larger than at a step.
    """
    model = run.config.model
    gap = max(1 - activation(model.activation).lipschitz * initial.norm_w, 1e-3)
    norm_z = math.sqrt(float(initial.gram.diagonal().amax()))
    windows = run.config.train.integrator == "windows"
    residual = trajectory["rounding"] + (0.0 if windows else trajectory["residual"])
    error = residual * (initial.norm_a * norm_z / gap)
    loss = initial.error.shape[0] / 2 * error**2
    if windows:
        loss = loss + run.window_floor**2 / 2
    return torch.log(FLOOR_MARGIN * loss)
