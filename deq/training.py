"""Gradient descent on a pack of DEQs, with what is measured on the way."""

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from deq.convergence import Initial
from deq.course import Course, Row, Status, blank
from deq.data import Dataset
from deq.fixed_point import Solution, Solved
from deq.kernels import gram, tangent
from deq.pack import Pack
from deq.spectrum import least_eigenvalue, operator_norm
from deq.step_size import step_size
from deq.trial import TrialConfig


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
        self._every = configs[0].diagnostics.every
        self._pack = Pack(configs, datasets, torch.device(device))

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
        pack, rows = self._pack, [blank(step) for _ in self._alive]
        forward = pack.equilibrium()
        _fill(rows, "forward_steps", forward.products)
        _fill(rows, "forward_predicted", forward.predicted)
        _fill(rows, "residual", forward.residual)
        rows = self._close_unsolved("the equilibrium", forward, rows)
        if not rows:
            return
        adjoint = pack.adjoints()
        _fill(rows, "adjoint_steps", adjoint.products)
        _fill(rows, "adjoint_predicted", adjoint.predicted)
        _fill(rows, "adjoint_residual", adjoint.residual)
        _fill(rows, "flipped", pack.flipped.tolist())
        rows = self._close_unsolved("the adjoint", adjoint, rows)
        _fill(rows, "loss", half_square(pack.e))
        for course, row in zip(self._alive, rows, strict=True):
            row["products"] = row["forward_steps"] + row["adjoint_steps"] + 1
            course.rows.append(row)
            course.judge()
        self._measure(step)
        self._drop_ended()
        if self._alive:
            pack.descend()

    def _close_unsolved(self, which: str, solution: Solution, rows: list[Row]) -> list[Row]:
        """Close the trials whose fixed point was not reached; the rows of the others."""
        for course, solved in zip(self._alive, solution.solved, strict=True):
            if solved is not Solved.CONVERGED:
                course.unsolved(solved, which)
        return [rows[k] for k in self._drop_ended()]

    def _drop_ended(self) -> list[int]:
        """Take the trials that have ended out of the pack; the places of the others."""
        keep = [k for k, course in enumerate(self._alive) if course.status is None]
        if len(keep) < len(self._alive):
            self._alive = [self._alive[k] for k in keep]
            self._pack.select(keep)
        return keep

    def _measure(self, step: int) -> None:
        """Spectra for the trials whose turn it is; at step 0 also what the theory reads.

        The turn is a trial's own (its cadence and its last step), never a neighbour's,
        so that a trajectory does not depend on the pack.
        """
        due = [
            k
            for k, course in enumerate(self._alive)
            if course.status is not Status.DIVERGED
            and (course.status is not None or step % self._every == 0)
        ]
        if not due:
            return
        pack, e = self._pack, self._pack.e[due].double()
        g = gram(pack.z[due].mT)
        h = tangent(g, gram(pack.r[due].mT), pack.xx[due])
        norm_w = operator_norm(pack.w if len(due) == len(self._alive) else pack.w[due])
        if step == 0:
            self._begin(due, g, h, e, norm_w)
        rows = [self._alive[k].rows[-1] for k in due]
        # ||grad Phi||^2 = e^T H e
        squared = torch.einsum("bi,bij,bj->b", e, h, e).clamp_min(0)
        _fill(rows, "grad_norm", squared.sqrt().tolist())
        _fill(rows, "lambda_min_gram", least_eigenvalue(g).tolist())
        _fill(rows, "lambda_min_tangent", least_eigenvalue(h).tolist())
        _fill(rows, "norm_w", norm_w.tolist())

    def _begin(self, due: list[int], g: Tensor, h: Tensor, e: Tensor, norm_w: Tensor) -> None:
        """Set the courses' `initial` and their step sizes."""
        pack = self._pack
        for j, k in enumerate(due):
            course = self._alive[k]
            course.initial = Initial(
                gram=g[j].cpu(),
                tangent=h[j].cpu(),
                error=e[j].cpu(),
                norm_w=float(norm_w[j]),
                norm_u=pack.norm_u[k],
                norm_a=float(torch.linalg.vector_norm(pack.a[k].double())),
                norm_x=pack.norm_x[k],
            )
            course.eta = step_size(course.config, course.initial, course.dataset)
            pack.eta[k] = course.eta


def _fill(rows: list[Row], name: str, values: Sequence[float]) -> None:
    """Put one value into each trial's row."""
    for row, value in zip(rows, values, strict=True):
        row[name] = float(value)


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
