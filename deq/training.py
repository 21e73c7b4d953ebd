"""Full-batch gradient descent on a pack of DEQs, with what is measured on the way.

The gradients are in closed form (THEORY section 1): with e = yhat - y, D the derivative
mask and V = a 1^T + W^T (D * V), R = D * V,

    grad_W = (R diag(e)) Z^T,  grad_U = (R diag(e)) X^T,  grad_a = Z e.

A step costs the products of its two fixed points and one more for grad_W. U is never
formed: P = U X is kept current through X^T X.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Literal

import torch
from torch import Tensor

from deq.activations import activation
from deq.convergence import Initial, initial_condition
from deq.data import DataConfig, Dataset, DigitsConfig
from deq.fixed_point import Map, Solution, Solved, solve
from deq.kernels import gram, tangent
from deq.model import AdjointMap, EquilibriumMap, ModelConfig, initialise
from deq.population import population
from deq.prediction import Predictor
from deq.solvers import SolverConfig
from deq.spectrum import greatest_eigenvalue, least_eigenvalue, operator_norm

EtaUnit = Literal["absolute", "tangent", "population", "theorem"]
Dtype = Literal["float64", "float32"]

# The loss has stalled when its least value has not fallen for this many GD steps.
STALL_STEPS = 100
# A loss this many times the initial one has diverged.
DIVERGED = 1e6


@dataclass(frozen=True)
class TrainConfig:
    """Gradient descent.

    Attributes:
        steps: the budget of GD steps.
        eta: step size, in units of `eta_unit`.
        eta_unit: absolute; tangent: 2 / lambda_max(H(0)); population: 2 /
            lambda_max(H_inf); theorem: the bound (10) at the best delta.
        loss_tol: converged when Phi(t) <= loss_tol Phi(0).
    """

    steps: int = 500
    eta: float = 0.5
    eta_unit: EtaUnit = "tangent"
    loss_tol: float = 1e-20

    def __post_init__(self) -> None:
        """Refuse a budget or a step size that trains nothing."""
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if not 0 < self.eta < math.inf:  # true for NaN as well
            raise ValueError(f"eta must be above 0, not {self.eta}")
        if not 0 <= self.loss_tol < 1:
            raise ValueError(f"loss_tol must be in [0, 1), not {self.loss_tol}")


@dataclass(frozen=True)
class DiagnosticsConfig:
    """What is measured how often.

    Attributes:
        every: GD steps between measurements of grad_norm, ||W||_2, lambda_min(G) and
            lambda_min(H). Loss, residuals and solver steps are recorded at every step.
    """

    every: int = 10

    def __post_init__(self) -> None:
        """Refuse a cadence below 1."""
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")


@dataclass(frozen=True)
class TrialConfig:
    """Everything that determines a trial's numbers, and nothing else."""

    data: DataConfig = field(default_factory=DigitsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    seed: int = 0
    dtype: Dtype = "float64"

    def __post_init__(self) -> None:
        """Refuse what only the parts together show."""
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 .. 2**63 - 1, not {self.seed}")
        floor = 2 * torch.finfo(self.torch_dtype).eps
        if self.solver.tol < floor:
            raise ValueError(
                f"solver.tol={self.solver.tol:g} is below what {self.dtype} resolves "
                f"({floor:.1e}): raise it, or set dtype=float64"
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The training's dtype."""
        return torch.float64 if self.dtype == "float64" else torch.float32


class Status(StrEnum):
    """How a trial ended."""

    CONVERGED = "converged"
    BUDGET = "budget"
    DIVERGED = "diverged"
    ILL_POSED = "ill_posed"
    STALLED = "stalled"


# One row of the trajectory per GD step; NaN where a quantity was not measured.
COLUMNS = (
    "step",
    "loss",
    "residual",
    "grad_norm",
    "lambda_min_gram",
    "lambda_min_tangent",
    "norm_w",
    "forward_steps",
    "adjoint_steps",
)
Row = dict[str, float]


@dataclass
class Course:
    """One trial's training so far.

    Attributes:
        config: what is trained.
        dataset: on what.
        eta: the resolved step size, once known.
        rows: the trajectory, one row for each GD step from 0.
        status: how it ended; None while it trains.
        reason: one sentence on why it ended.
        initial: what the theory reads at t = 0; None when there was no equilibrium.
        seconds: this trial's share of the time spent.
    """

    config: TrialConfig
    dataset: Dataset
    eta: float = math.nan
    rows: list[Row] = field(default_factory=list)
    status: Status | None = None
    reason: str = ""
    initial: Initial | None = None
    seconds: float = 0.0
    _best: float = math.inf
    _best_step: int = 0

    def end(self, status: Status, reason: str) -> None:
        """Close the trial."""
        self.status, self.reason = status, reason

    def judge(self) -> None:
        """Close the trial if its last row says so."""
        row, train = self.rows[-1], self.config.train
        loss, start, step = row["loss"], self.rows[0]["loss"], int(row["step"])
        if loss < self._best:
            self._best, self._best_step = loss, step
        if not loss <= DIVERGED * start:  # true for NaN as well
            self.end(Status.DIVERGED, f"the loss passed {DIVERGED:g} times its first value")
        elif loss <= train.loss_tol * start:
            self.end(Status.CONVERGED, f"the loss fell to {train.loss_tol:g} of its first value")
        elif step - self._best_step >= STALL_STEPS:
            self.end(Status.STALLED, f"the loss has not fallen for {STALL_STEPS} steps")
        elif step >= train.steps:
            self.end(Status.BUDGET, f"all {train.steps} steps were used")

    def unsolved(self, solved: Solved, which: str) -> None:
        """Close the trial because a fixed point was not reached."""
        # Lost while the loss was not below its start: the step size threw it out.
        thrown = bool(self.rows) and self.rows[-1]["loss"] >= self.rows[0]["loss"]
        if solved is Solved.STAGNATED:
            status = Status.STALLED
        else:
            status = Status.DIVERGED if thrown else Status.ILL_POSED
        self.end(status, f"{which} at step {len(self.rows)}: {solved.advice}")


@dataclass
class _State:
    """The tensors of the trials still training, one leading entry for each."""

    x: Tensor  # (B, d, n) float64
    xx: Tensor  # (B, n, n) float64, X^T X
    y: Tensor  # (B, n)
    w: Tensor  # (B, m, m)
    u: Tensor  # (B, m, d) at t = 0
    a: Tensor  # (B, m)
    p: Tensor  # (B, m, n), P = U X
    z: Tensor  # (B, m, n), the last equilibrium
    v: Tensor  # (B, m, n), the last adjoint
    eta: Tensor  # (B,)

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name)[keep])


class Descent:
    """A pack of B trials of one shape trained together; each ends by itself.

    Iterating yields after every GD step; the caller pulls, looks at `courses`, and may
    stop at any time.
    """

    def __init__(
        self, configs: Sequence[TrialConfig], datasets: Sequence[Dataset], device: str = "cpu"
    ) -> None:
        """Draw the weights.

        Raises:
            ValueError: the trials do not fit in one pack (see `shape`).
        """
        if len({shape(c, s) for c, s in zip(configs, datasets, strict=True)}) > 1:
            raise ValueError("a pack holds trials of one shape, activation, dtype and solver")
        self.courses = [Course(c, s) for c, s in zip(configs, datasets, strict=True)]
        self._alive = list(self.courses)
        self._forward, self._adjoint = Predictor(), Predictor()
        self._config = configs[0]
        dtype, place = self._config.torch_dtype, torch.device(device)
        x = torch.stack([s.x for s in datasets]).to(place)
        w, u, a = initialise(
            [c.model for c in configs],
            [c.seed for c in configs],
            x.shape[1],
            dtype=dtype,
            device=place,
        )
        p = torch.bmm(u, x.to(dtype))
        self._state = _State(
            x=x,
            xx=x.mT @ x,
            y=torch.stack([s.y for s in datasets]).to(place, dtype),
            w=w,
            u=u,
            a=a,
            p=p,
            z=activation(self._config.model.activation).function(p),
            v=a[:, :, None].expand_as(p),
            eta=torch.full((len(configs),), torch.nan, dtype=dtype, device=place),
        )

    def __iter__(self) -> Iterator[int]:
        """Train; yields the step just measured, until every trial has ended."""
        step = 0
        while self._alive:
            started, alive = time.perf_counter(), self._alive
            self._advance(step)
            for course in alive:
                course.seconds += (time.perf_counter() - started) / len(alive)
            yield step
            step += 1

    def _advance(self, step: int) -> None:
        """Measure at `step`, close what has ended, and take one GD step with the rest.

        Trials leave the pack as soon as they end, so that later lines see only numbers.
        """
        s, rows = self._state, [blank(step) for _ in self._alive]
        forward_map = EquilibriumMap(activation(self._config.model.activation), s.w, s.p)
        forward = self._solve(forward_map, self._forward.predict(s.z))
        s.z, mask = forward.value, forward_map.mask()
        self._forward.push(s.z)
        for row, steps, residual in zip(rows, forward.steps, forward.residual, strict=True):
            row["forward_steps"], row["residual"] = float(steps), float(residual)
        keep = self._close_unsolved("the equilibrium", forward)
        rows, mask = [rows[k] for k in keep], mask[keep]
        if not keep:
            return
        adjoint = self._solve(AdjointMap(s.w, s.a, mask), self._adjoint.predict(s.v))
        s.v = adjoint.value
        self._adjoint.push(s.v)
        for row, steps in zip(rows, adjoint.steps, strict=True):
            row["adjoint_steps"] = float(steps)
        keep = self._close_unsolved("the adjoint", adjoint)
        rows, mask = [rows[k] for k in keep], mask[keep]
        if not keep:
            return
        r = mask * s.v
        e = torch.bmm(s.a[:, None, :], s.z)[:, 0, :] - s.y
        for course, row, loss in zip(self._alive, rows, half_square(e), strict=True):
            row["loss"] = loss
            course.rows.append(row)
            course.judge()
        self._measure(step, r, e)
        scaled = r * (e * s.eta[:, None])[:, None, :]
        s.a = s.a - torch.bmm(s.z, (e * s.eta[:, None])[:, :, None])[:, :, 0]
        s.w.baddbmm_(scaled, s.z.mT, alpha=-1)
        s.p.baddbmm_(scaled, s.xx.to(s.p.dtype), alpha=-1)
        self._drop([k for k, course in enumerate(self._alive) if course.status is None])

    def _solve(self, f: Map, start: Tensor) -> Solution:
        solver = self._config.solver
        return solve(f, start, tol=solver.tol, max_steps=solver.max_steps)

    def _close_unsolved(self, which: str, solution: Solution) -> list[int]:
        """Close the trials whose fixed point was not reached; the places of the others."""
        for course, solved in zip(self._alive, solution.solved, strict=True):
            if solved is not Solved.CONVERGED:
                course.unsolved(solved, which)
        keep = [k for k, course in enumerate(self._alive) if course.status is None]
        self._drop(keep)
        return keep

    def _drop(self, keep: list[int]) -> None:
        if len(keep) < len(self._alive):
            self._alive = [self._alive[k] for k in keep]
            self._state.select(keep)
            self._forward.select(keep)
            self._adjoint.select(keep)

    def _measure(self, step: int, r: Tensor, e: Tensor) -> None:
        """Spectra for the trials whose turn it is; at step 0 also what the theory reads.

        The turn is a trial's own (its cadence and its last step), never a neighbour's,
        so that a trajectory does not depend on the pack.
        """
        due = [
            k
            for k, course in enumerate(self._alive)
            if course.status is not Status.DIVERGED
            and (course.status is not None or step % self._config.diagnostics.every == 0)
        ]
        if not due:
            return
        s, e = self._state, e[due].double()
        g = gram(s.z[due])
        h = tangent(g, gram(r[due]), s.xx[due])
        norm_w = operator_norm(s.w if len(due) == len(self._alive) else s.w[due])
        if step == 0:
            self._begin(due, g, h, e, norm_w)
        measured = {
            # ||grad Phi||^2 = e^T H e
            "grad_norm": torch.einsum("bi,bij,bj->b", e, h, e).clamp_min(0).sqrt(),
            "lambda_min_gram": least_eigenvalue(g),
            "lambda_min_tangent": least_eigenvalue(h),
            "norm_w": norm_w,
        }
        for name, values in measured.items():
            for k, value in zip(due, values.tolist(), strict=True):
                self._alive[k].rows[-1][name] = value

    def _begin(self, due: list[int], g: Tensor, h: Tensor, e: Tensor, norm_w: Tensor) -> None:
        """Set the courses' `initial` and their step sizes."""
        s = self._state
        norm_u = operator_norm(s.u)
        for j, k in enumerate(due):
            course = self._alive[k]
            course.initial = Initial(
                gram=g[j].cpu(),
                tangent=h[j].cpu(),
                error=e[j].cpu(),
                norm_w=float(norm_w[j]),
                norm_u=float(norm_u[k]),
                norm_a=float(torch.linalg.vector_norm(s.a[k].double())),
                norm_x=float(torch.linalg.vector_norm(s.x[k])),
            )
            course.eta = step_size(course.config, course.initial, course.dataset)
            s.eta[k] = course.eta


def blank(step: int) -> Row:
    """A row of the trajectory with nothing measured yet."""
    return dict.fromkeys(COLUMNS, math.nan) | {"step": float(step)}


def half_square(e: Tensor) -> list[float]:
    """Phi = 1/2 ||e||^2 per trial."""
    losses: list[float] = (0.5 * (e.double() ** 2).sum(-1)).tolist()
    return losses


def shape(config: TrialConfig, dataset: Dataset) -> tuple[object, ...]:
    """What two trials must share to train in one pack."""
    return (
        config.model.width,
        config.model.activation,
        tuple(dataset.x.shape),
        config.solver,
        config.diagnostics,
        config.dtype,
    )


def step_size(config: TrialConfig, initial: Initial, dataset: Dataset) -> float:
    """eta in absolute terms.

    Raises:
        ValueError: the unit does not exist for this trial.
    """
    train, model = config.train, config.model
    if train.eta_unit == "absolute":
        return train.eta
    if train.eta_unit == "tangent":
        return train.eta * 2 / float(greatest_eigenvalue(initial.tangent))
    if train.eta_unit == "population":
        limit = population(
            dataset.x, model.activation, sigma_w2=model.sigma_w2, sigma_a=model.sigma_a
        )
        return train.eta * 2 / float(greatest_eigenvalue(limit.tangent(model.width)))
    condition = initial_condition(initial, model)
    if condition is None:
        raise ValueError(
            "train.eta_unit=theorem needs L ||W(0)||_2 < 1: choose tangent or absolute"
        )
    return train.eta * condition.eta_limit
