"""Gradient descent on a pack of DEQs, with what is measured on the way."""

import operator
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import torch

from deq.config import PACK_KEYS, TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.hardware import forbid_tf32
from deq.solvers.fixed_point import Solution, Solved
from deq.theory.convergence import Initial
from deq.training.course import Course, Row, Status, blank
from deq.training.diagnostics import Diagnostics, Spectra
from deq.training.lookahead import Reading, Speculation
from deq.training.pack import Pack, half_square
from deq.training.state import State, put, state_of
from deq.training.step_size import step_size
from deq.training.weights import Weights


class Descent:
    """B trials of one shape trained together; each ends by itself.

    Iterating yields after every GD step; the caller pulls, looks at `courses`, and may
    stop at any time.

    Attributes:
        courses: every trial's course, in the order given.
        groups: the trials still training; one group, and another for each trial that goes
            on in float64 (see SolverConfig.finish).
        step: the GD step that comes next.
    """

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        datasets: Sequence[Dataset],
        device: str = "cpu",
        *,
        keep_weights: bool = False,
    ) -> None:
        """Draw the weights; with `keep_weights`, a course that ends holds its own from then on.

        Raises:
            ValueError: the trials do not fit in one pack (see `shape`), or a trial that
                redraws until the initial condition holds found no network.
        """
        if len({shape(c, s) for c, s in zip(configs, datasets, strict=True)}) > 1:
            raise ValueError("a pack holds trials of one shape, activation, dtype and solver")
        forbid_tf32()
        parts = zip(configs, datasets, strict=True)
        self.courses = [Course(*part, keep_weights=keep_weights) for part in parts]
        self.groups = [Group(list(self.courses), Pack(configs, datasets, torch.device(device)))]
        self.step = 0

    @classmethod
    def restored(
        cls,
        configs: Sequence[TrialConfig],
        datasets: Sequence[Dataset],
        state: State,
        *,
        keep_weights: bool = False,
    ) -> "Descent":
        """The descent of these trials that `state` was taken of, on its groups' device."""
        forbid_tf32()
        descent = cls.__new__(cls)
        parts = zip(configs, datasets, state["courses"], strict=True)
        descent.courses = [Course.restored(*part) for part in parts]
        descent.groups = [Group.restored(descent.courses, part) for part in state["groups"]]
        for course in descent.courses:
            course.keep_weights = keep_weights
        descent.step = state["step"]
        return descent

    def state(self) -> State:
        """All that later steps depend on; taken between two of them. Tensors are shared."""
        place = {id(course): k for k, course in enumerate(self.courses)}
        groups = [
            state_of(group) | {"courses": [place[id(course)] for course in group.courses]}
            for group in self.groups
        ]
        courses = [course.state() for course in self.courses]
        return {"step": self.step, "courses": courses, "groups": groups}

    def __iter__(self) -> Iterator[int]:
        """Train; yields the step just measured, until every trial has ended."""
        while self.groups:
            for group in list(self.groups):
                started, alive = time.perf_counter(), group.courses
                group.advance(self.step)
                self.groups += group.promote()
                for course in alive:
                    course.seconds += (time.perf_counter() - started) / len(alive)
            self.groups = [group for group in self.groups if group.courses]
            self.step += 1
            yield self.step - 1

    def weights(self, k: int) -> Weights:
        """The weights of trial k as they stand; of one that has ended, where they were kept.

        Raises:
            ValueError: it has ended, and they were not kept.
        """
        course = self.courses[k]
        for group in self.groups:
            places = [i for i, other in enumerate(group.courses) if other is course]
            if places:
                return group.pack.weights(places[0], course.config, course.dataset)
        if course.weights is None:
            raise ValueError("the trial has ended and its weights were not kept: keep_weights=True")
        return course.weights

    def stop(self, course: Course, reason: str) -> None:
        """End one trial before its end, between two steps; the others go on."""
        course.end(Status.STOPPED, reason)
        for group in self.groups:
            group.drop_ended()
        self.groups = [group for group in self.groups if group.courses]

    def only(self, courses: Sequence[Course]) -> None:
        """Keep these trials and forget the others, between two steps."""
        kept = {id(course) for course in courses}
        self.courses = [course for course in self.courses if id(course) in kept]
        for group in self.groups:
            group.drop_others(kept)
        self.groups = [group for group in self.groups if group.courses]


class Group:
    """Trials that are solved together: their courses, their numerics, their spectra."""

    STATE = ("pack", "diagnostics", "speculation")

    def __init__(self, courses: list[Course], pack: Pack) -> None:
        self.courses, self.pack, self.diagnostics = courses, pack, Diagnostics()
        self.speculation = Speculation(pack)

    @classmethod
    def restored(cls, courses: list[Course], state: State) -> "Group":
        """The group of a descent with these courses that `state` was taken of."""
        own = [courses[k] for k in state["courses"]]
        group = cls(own, Pack.restored(own[0].config, state["pack"]))
        put(group.diagnostics, state["diagnostics"])
        put(group.speculation, state["speculation"])
        return group

    def advance(self, step: int) -> None:
        """Measure at `step`, close what has ended, and take one GD step with the rest.

        Trials leave the pack as soon as they end, so that later lines see only numbers.
        """
        rows = [blank(step) for _ in self.courses]
        reading = self.speculation.step()
        rows = self._watched(rows) if reading is None else _read(rows, reading)
        for course, row in zip(self.courses, rows, strict=True):
            row["products"] = row["forward_steps"] + row["adjoint_steps"] + 1
            row["rounding"] = torch.finfo(self.pack.e.dtype).eps
            course.rows.append(row)
            course.judge()
        self._keep(lambda course: course.status is not Status.DIVERGED)
        self._measure(step)
        self._keep(lambda course: course.status is None)
        if self.courses:
            self.speculation.descend()

    def drop_ended(self) -> None:
        """Take the trials out that have ended."""
        self._keep(lambda course: course.status is None)

    def drop_others(self, kept: Collection[int]) -> None:
        """Take the trials out whose course has none of these ids."""
        self._keep(lambda course: id(course) in kept)

    def promote(self) -> list["Group"]:
        """Hand over the trials that go on in float64, each in a group of its own."""
        leaving = self.pack.strained()
        groups = [Group([self.courses[k]], self.pack.in_float64(k)) for k in leaving]
        left = [self.courses[k] for k in leaving]
        self._keep(lambda course: all(course is not other for other in left))
        return groups

    def _watched(self, rows: list[Row]) -> list[Row]:
        """Solve for both fixed points; the rows of the trials for which there are both."""
        pack = self.pack
        forward = pack.equilibrium()
        _fill_forward(rows, forward)
        rows = self._close_unsolved("the equilibrium", forward, rows)
        if not rows:
            return []
        adjoint = pack.adjoints()
        _fill_adjoint(rows, adjoint)
        _fill(rows, "flipped", pack.flipped.tolist())
        rows = self._close_unsolved("the adjoint", adjoint, rows)
        _fill(rows, "loss", half_square(pack.e).tolist())
        self.speculation.learn(forward, adjoint)
        return rows

    def _close_unsolved(self, which: str, solution: Solution, rows: list[Row]) -> list[Row]:
        """Close the trials whose fixed point was not reached; the rows of the others.

        A solve that ended at the precision's floor, above a tolerance tightened for a small
        loss but within the one asked for, is as good as this dtype gives.
        """
        ends = zip(self.courses, solution.solved, solution.residual, strict=True)
        for course, solved, residual in ends:
            good = solved is Solved.STAGNATED and residual <= course.config.solver.tol
            if solved is not Solved.CONVERGED and not good:
                course.unsolved(solved, which)
        return [rows[k] for k in self._keep(lambda course: course.status is None)]

    def _keep(self, stays: Callable[[Course], bool]) -> list[int]:
        """Take the other trials out of the pack; the places of those that stay."""
        keep = [k for k, course in enumerate(self.courses) if stays(course)]
        for k, course in enumerate(self.courses):
            if k not in keep and course.keep_weights and course.status is not None:
                course.weights = self.pack.weights(k, course.config, course.dataset)
        if len(keep) < len(self.courses):
            self.courses = [self.courses[k] for k in keep]
            self.diagnostics = self.diagnostics.only(keep)
            self.pack.select(keep)
        return keep

    def _measure(self, step: int) -> None:
        """Spectra for the trials whose turn it is; at step 0 also what the theory reads.

        The turn is a trial's own (its cadence and its last step), never a neighbour's,
        so that a trajectory does not depend on the pack.
        """
        ended = [k for k, course in enumerate(self.courses) if course.status is not None]
        if self.courses and step % self.courses[0].config.diagnostics.every == 0:
            due, found = self.courses, self.diagnostics.measure(self.pack)
            self.pack.know_norm(found.norm_w)
        elif ended:
            due = [self.courses[k] for k in ended]
            found = self.diagnostics.measure_last(self.pack, ended)
        else:
            return
        if step == 0:
            self._begin(found)
        rows = [course.rows[-1] for course in due]
        _fill(rows, "grad_norm", found.grad_norm.tolist())
        _fill(rows, "grad_check", found.grad_check.tolist())
        _fill(rows, "lambda_min_gram", found.least_gram.tolist())
        _fill(rows, "lambda_min_tangent", found.least_tangent.tolist())
        _fill(rows, "norm_w", found.norm_w.tolist())

    def _begin(self, found: Spectra) -> None:
        """Set the courses' `initial` and their step sizes."""
        for k, course in enumerate(self.courses):
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


def _read(rows: list[Row], reading: Reading) -> list[Row]:
    """Put what was read of a step into each trial's row."""
    _fill_forward(rows, reading.forward)
    _fill_adjoint(rows, reading.adjoint)
    _fill(rows, "flipped", reading.flipped)
    _fill(rows, "loss", reading.loss)
    return rows


def _fill_forward(rows: list[Row], solution: Solution) -> None:
    _fill(rows, "forward_steps", solution.products)
    _fill(rows, "forward_low", solution.low)
    _fill(rows, "forward_predicted", solution.predicted)
    _fill(rows, "residual", solution.residual)


def _fill_adjoint(rows: list[Row], solution: Solution) -> None:
    _fill(rows, "adjoint_steps", solution.products)
    _fill(rows, "adjoint_low", solution.low)
    _fill(rows, "adjoint_predicted", solution.predicted)
    _fill(rows, "adjoint_residual", solution.residual)


def _fill(rows: list[Row], name: str, values: Sequence[float]) -> None:
    """Put one value into each trial's row."""
    for row, value in zip(rows, values, strict=True):
        row[name] = float(value)


def shape(config: TrialConfig, dataset: Dataset) -> tuple[object, ...]:
    """Properties that all trials of a pack share: values at PACK_KEYS, and shape (d, n)."""
    return (*operator.attrgetter(*PACK_KEYS)(config), tuple(dataset.x.shape))
