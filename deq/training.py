"""Gradient descent on a pack of DEQs, with what is measured on the way."""

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from deq.convergence import Initial
from deq.course import Course, Row, Status, blank
from deq.data import Dataset
from deq.diagnostics import Diagnostics, Spectra
from deq.fixed_point import Solution, Solved
from deq.pack import Pack
from deq.step_size import step_size
from deq.trial import TrialConfig


class Descent:
    """A pack of B trials of one shape trained together; each ends by itself.

    Iterating yields after every GD step; the caller pulls, looks at `courses`, and may
    stop at any time.

    Attributes:
        courses: every trial's course, in the order given.
        pack: the numerics of the trials still training.
        diagnostics: their spectra.
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
        self.pack = Pack(configs, datasets, torch.device(device))
        self.diagnostics = Diagnostics()

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
        pack, rows = self.pack, [blank(step) for _ in self._alive]
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
        self._drop([c for c in self._alive if c.status is not Status.DIVERGED])
        self._measure(step)
        self._drop([c for c in self._alive if c.status is None])
        if self._alive:
            pack.descend()

    def _close_unsolved(self, which: str, solution: Solution, rows: list[Row]) -> list[Row]:
        """Close the trials whose fixed point was not reached; the rows of the others."""
        for course, solved in zip(self._alive, solution.solved, strict=True):
            if solved is not Solved.CONVERGED:
                course.unsolved(solved, which)
        kept = [k for k, course in enumerate(self._alive) if course.status is None]
        self._drop([self._alive[k] for k in kept])
        return [rows[k] for k in kept]

    def _drop(self, stay: list[Course]) -> None:
        """Take the other trials out of the pack."""
        if len(stay) < len(self._alive):
            keep = [k for k, course in enumerate(self._alive) if course in stay]
            self._alive, self.diagnostics = stay, self.diagnostics.only(keep)
            self.pack.select(keep)

    def _measure(self, step: int) -> None:
        """Spectra for the trials whose turn it is; at step 0 also what the theory reads.

        The turn is a trial's own (its cadence and its last step), never a neighbour's,
        so that a trajectory does not depend on the pack.
        """
        ended = [k for k, course in enumerate(self._alive) if course.status is not None]
        if self._alive and step % self._every == 0:
            due, found = self._alive, self.diagnostics.measure(self.pack)
        elif ended:
            due = [self._alive[k] for k in ended]
            found = self.diagnostics.measure_last(self.pack, ended)
        else:
            return
        if step == 0:
            self._begin(found)
        rows = [course.rows[-1] for course in due]
        _fill(rows, "grad_norm", found.grad_norm.tolist())
        _fill(rows, "lambda_min_gram", found.least_gram.tolist())
        _fill(rows, "lambda_min_tangent", found.least_tangent.tolist())
        _fill(rows, "norm_w", found.norm_w.tolist())

    def _begin(self, found: Spectra) -> None:
        """Set the courses' `initial` and their step sizes."""
        for k, course in enumerate(self._alive):
            course.initial = Initial(
                gram=found.gram[k].cpu(),
                tangent=found.tangent[k].cpu(),
                error=found.e[k].cpu(),
                norm_w=float(found.norm_w[k]),
                norm_u=self.pack.norm_u[k],
                norm_a=float(torch.linalg.vector_norm(self.pack.a[k].double())),
                norm_x=self.pack.norm_x[k],
            )
            course.eta = step_size(course.config, course.initial, course.dataset)
            self.pack.eta[k] = course.eta


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
