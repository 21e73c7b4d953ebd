"""The training run of one trial: its trajectory, and how it ended."""

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum

import torch

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.solvers.solution import Solved
from deq.theory.convergence import Initial
from deq.training.held_out import HeldOut
from deq.training.state import State
from deq.training.weights import Weights

# GD steps without a new least loss after which training has stalled.
STALL_STEPS = 100
# Multiple of the initial loss above which training has diverged.
DIVERGED = 1e6


class Status(StrEnum):
    """End of a trial."""

    CONVERGED = "converged"
    BUDGET = "budget"
    DIVERGED = "diverged"
    ILL_POSED = "ill_posed"
    STALLED = "stalled"
    STOPPED = "stopped"  # by the caller: see GradientDescent.stop
    REJECTED = "rejected"  # no drawn network met the initial condition: model.init=redraw


# Columns of the trajectory, one row per GD step; NaN where a quantity was not measured.
# `residual` is relative, of the worst sample's equilibrium before its last map.
COLUMNS = (
    "step",
    "loss",
    "residual",
    "grad_norm",
    "lambda_min_gram",
    "lambda_min_tangent",
    "norm_w",
    # Products with W for the equilibrium and the adjoint, mean over the samples.
    "forward_steps",
    "adjoint_steps",
    # Products of these in low precision; NaN where solver.precision is full.
    "forward_low",
    "adjoint_low",
    # Products with W per sample in this GD step, gradient included; the worst sample's
    # residual at the predicted starts and at the last adjoint; samples whose derivative
    # mask changed at a kink.
    "products",
    "forward_predicted",
    "adjoint_predicted",
    "adjoint_residual",
    "flipped",
    # eps of the dtype the step was computed in.
    "rounding",
    # |grad_norm / ||gradient|| - 1|: grad_norm comes from H, the other from the gradient.
    "grad_check",
    # ||H(t) - H(0)||_F / ||H(0)||_F.
    "kernel_drift",
)
Row = dict[str, float]


@dataclass
class TrainingRun:
    """The training run of one trial.

    Attributes:
        config: the trial.
        dataset: its inputs and targets.
        eta: the step size in absolute terms; NaN until step 0 was measured.
        rows: the trajectory, one row for each GD step from 0.
        status: how it ended; None while it trains.
        reason: one sentence on why it ended.
        initial: what the theory reads at t = 0; None when there was no equilibrium.
        seconds: this trial's share of the time spent.
        drawn: number of networks that were drawn, see ModelConfig.init.
        products: products with W so far, a thin one (n x n with n x m) counted n / m.
        window_check: greatest deviation that the checks of windows found; -inf without a check.
        window_tol: the loosest tolerance of a window, greater than the one asked for where
            rounding allows no other; -inf without a window.
        window_floor: part of ||yhat - y|| that rounding may make up in windows.
        crossing, sliding, undecided: monitored pre-activations in windows of a kinked activation:
            that changed sign once in a window, summed; that slide along zero, the most of a
            window; whose side is not known, summed.
        weighty: the undecided ones that would change the rate; single steps were taken there.
        windows_refused: windows that were not taken because their check failed.
        moved: ||theta - theta(0)||_2 over W, U and a at its end; NaN before.
        size: ||theta(0)||_2, likewise.
        farthest: the greatest of ||W - W(0)||_F, ||U - U(0)||_F and ||a - a(0)||_2, likewise.
        sphere: relative change of ||I - W||_F^2 + ||U||_F^2, likewise.
        output_sphere: the same of ||I - W||_F^2 + ||a||_2^2, likewise.
        held_out: what is known at its held-out samples, see `training/held_out`.
        keep_weights: whether to set `weights` when it ends.
        weights: those of the last row, or, for a stopped trial, of the step after it. None
            if they are not kept, or if the trial ended before the checkpoint was written
            that it was restored from.
    """

    config: TrialConfig
    dataset: Dataset
    eta: float = math.nan
    rows: list[Row] = field(default_factory=list)
    status: Status | None = None
    reason: str = ""
    initial: Initial | None = None
    seconds: float = 0.0
    drawn: int = 1
    products: float = 0.0
    window_check: float = -math.inf
    window_tol: float = -math.inf
    window_floor: float = 0.0
    windows_refused: int = 0
    moved: float = math.nan
    size: float = math.nan
    farthest: float = math.nan
    sphere: float = math.nan
    output_sphere: float = math.nan
    held_out: HeldOut = field(default_factory=dict)
    crossing: int = 0
    sliding: int = 0
    undecided: int = 0
    weighty: int = 0
    keep_weights: bool = False
    weights: Weights | None = None
    _best: float = math.inf
    _best_step: int = 0

    # Attributes of the state beside rows, status and initial; weights are not part of it.
    WINDOWS = ("window_check", "window_tol", "window_floor", "windows_refused")
    COUNTS = ("seconds", "products", *WINDOWS)
    ENTRIES = ("crossing", "sliding", "undecided", "weighty")
    MOVED = ("moved", "size", "farthest", "sphere", "output_sphere", "held_out")
    PLAIN = ("eta", "reason", "drawn", *COUNTS, *ENTRIES, *MOVED, "_best", "_best_step")

    def state(self) -> State:
        """Return everything but config, dataset and weights, as plain data and tensors."""
        rows = [[row[name] for name in COLUMNS] for row in self.rows]
        initial = self.initial
        return {name: getattr(self, name) for name in self.PLAIN} | {
            "rows": torch.tensor(rows, dtype=torch.float64).view(-1, len(COLUMNS)),
            "status": self.status and self.status.value,
            "initial": initial and {f.name: getattr(initial, f.name) for f in fields(initial)},
        }

    @classmethod
    def restored(cls, config: TrialConfig, dataset: Dataset, state: State) -> "TrainingRun":
        """Rebuild the run of this config and dataset from its `state`."""
        run = cls(config, dataset)
        for name in cls.PLAIN:
            setattr(run, name, state[name])
        run.rows = [dict(zip(COLUMNS, row, strict=True)) for row in state["rows"].tolist()]
        run.status = state["status"] and Status(state["status"])
        run.initial = state["initial"] and Initial(**state["initial"])
        return run

    def end(self, status: Status, reason: str) -> None:
        """End the trial."""
        self.status, self.reason = status, reason

    def check_stop(self) -> None:
        """End the trial if its last row meets a stopping rule."""
        row, train = self.rows[-1], self.config.train
        loss, start, step = row["loss"], self.rows[0]["loss"], int(row["step"])
        if loss < self._best:
            self._best, self._best_step = loss, step
        if not math.isfinite(loss):  # first: inf is no more than any multiple of inf
            scale = ": the labels y are too large, scale them" if step == 0 else ""
            self.end(Status.DIVERGED, f"the loss at step {step} is not finite{scale}")
        elif loss > DIVERGED * start:
            self.end(Status.DIVERGED, f"the loss passed {DIVERGED:g} times its first value")
        elif loss <= train.loss_tol * start:
            self.end(Status.CONVERGED, f"the loss fell to {train.loss_tol:g} of its first value")
        elif step - self._best_step >= STALL_STEPS:
            self.end(Status.STALLED, f"the loss has not fallen for {STALL_STEPS} steps")
        elif step >= train.steps:
            self.end(Status.BUDGET, f"all {train.steps} steps were used")

    def end_unsolved(self, solved: Solved, which: str) -> None:
        """End the trial because a fixed point was not reached.

        Args:
            solved: how the solve ended.
            which: the fixed point, for the reason.
        """
        # If the loss has not fallen, the step size was too large.
        diverged = bool(self.rows) and self.rows[-1]["loss"] >= self.rows[0]["loss"]
        if solved is Solved.STAGNATED:
            status = Status.STALLED
        else:
            status = Status.DIVERGED if diverged else Status.ILL_POSED
        more = solved is Solved.STAGNATED and self.config.dtype == "float32"
        remedy = " or use dtype=float64" if more else ""
        self.end(status, f"{which} at step {len(self.rows)}: {solved.advice}{remedy}")


Course = TrainingRun  # earlier name


def blank_row(step: int) -> Row:
    """Return a row of the trajectory in which every quantity but the step is NaN."""
    return dict.fromkeys(COLUMNS, math.nan) | {"step": float(step)}
