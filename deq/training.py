"""Full-batch gradient descent on a pack of DEQs, with what is measured on the way.

The gradients are in closed form (THEORY section 1): with e = yhat - y, D the derivative
mask and V = a 1^T + W^T (D * V), R = D * V,

    grad_W = (R diag(e)) Z^T,  grad_U = (R diag(e)) X^T,  grad_a = Z e.

A step costs the products of its two fixed points and one more for grad_W. U is never
formed: P = U X is kept current through X^T X.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from deq.activations import activation
from deq.convergence import Initial
from deq.course import Course, Status, blank
from deq.data import Dataset
from deq.fixed_point import Map, Solution, Solved, solve
from deq.kernels import gram, tangent
from deq.model import AdjointMap, EquilibriumMap
from deq.prediction import Predictor
from deq.redraw import starting_weights
from deq.spectrum import least_eigenvalue, operator_norm
from deq.step_size import step_size
from deq.trial import TrialConfig


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
            ValueError: the trials do not fit in one pack (see `shape`), or a trial that
                redraws until the initial condition holds found no network.
        """
        if len({shape(c, s) for c, s in zip(configs, datasets, strict=True)}) > 1:
            raise ValueError("a pack holds trials of one shape, activation, dtype and solver")
        self.courses = [Course(c, s) for c, s in zip(configs, datasets, strict=True)]
        self._alive = list(self.courses)
        self._forward, self._adjoint = Predictor(), Predictor()
        self._config = configs[0]
        dtype, place = self._config.torch_dtype, torch.device(device)
        x = torch.stack([s.x for s in datasets]).to(place)
        w, u, a = starting_weights(configs, datasets, place)
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
