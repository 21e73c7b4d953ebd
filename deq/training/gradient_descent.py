"""Gradient descent on packs of DEQs, one GD step at a time."""

import operator
import time
from collections.abc import Iterator, Sequence

import torch

from deq.config import PACK_KEYS, TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.hardware import forbid_tf32
from deq.theory.rejection_sampling import Networks
from deq.training.course import Course, Status
from deq.training.group import Group
from deq.training.pack import Pack
from deq.training.state import State, state_dict
from deq.training.weights import Weights
from deq.training.windows.group import WindowGroup


class Descent:
    """Gradient descent on B trials of one shape; each trial ends independently.

    theta(t+1) = theta(t) - eta grad Phi(theta(t)), theta = (W, U, a), full batch
    (docs/theory.md, section 1). Iterating yields after every GD step, so that the caller can
    read `courses` or stop.

    Attributes:
        courses: the training run of every trial, in the order given.
        groups: the trials that still train: one group, and one more for each trial that
            continues in float64 (see SolverConfig.finish) or uses windows (see TrainConfig).
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
        """Draw the initial weights.

        Args:
            configs: the trials, of one shape (see `shape`).
            datasets: what each trains on.
            device: cpu, cuda, cuda:1.
            keep_weights: whether a course holds its trial's weights once it has ended.

        Raises:
            ValueError: the trials differ in shape.
        """
        if len({shape(c, s) for c, s in zip(configs, datasets, strict=True)}) > 1:
            raise ValueError("a pack holds trials of one shape, activation, dtype and solver")
        forbid_tf32()
        pairs = zip(configs, datasets, strict=True)
        self.courses = [Course(*pair, keep_weights=keep_weights) for pair in pairs]
        self.groups = _groups(self.courses, torch.device(device))
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
        """Rebuild the descent of these trials from its `state`, on the device of its tensors."""
        forbid_tf32()
        descent = cls.__new__(cls)
        parts = zip(configs, datasets, state["courses"], strict=True)
        descent.courses = [Course.restored(*part) for part in parts]
        descent.groups = [
            (WindowGroup if "windows" in part else Group).restored(descent.courses, part)
            for part in state["groups"]
        ]
        for course in descent.courses:
            course.keep_weights = keep_weights
        descent.step = state["step"]
        return descent

    def state(self) -> State:
        """Return all that later steps depend on, between two steps. Tensors are shared."""
        index = {id(course): k for k, course in enumerate(self.courses)}
        groups = [
            state_dict(group) | {"courses": [index[id(course)] for course in group.courses]}
            for group in self.groups
        ]
        courses = [course.state() for course in self.courses]
        return {"step": self.step, "courses": courses, "groups": groups}

    def __iter__(self) -> Iterator[int]:
        """Train until every trial has ended; yield each step after it was measured."""
        while self.groups:
            for group in list(self.groups):
                started, alive = time.perf_counter(), group.courses
                group.advance(self.step)
                self.groups += group.split_off_float64()
                for course in alive:
                    course.seconds += (time.perf_counter() - started) / len(alive)
            self._drop_empty_groups()
            self.step += 1
            yield self.step - 1

    def weights(self, k: int) -> Weights:
        """Return the current weights of trial k, or its last ones if they were kept.

        Raises:
            ValueError: the trial has ended and its weights were not kept.
        """
        course = self.courses[k]
        for group in self.groups:
            for place, other in enumerate(group.courses):
                if other is course:
                    return group.weights(place)
        if course.weights is None:
            raise ValueError("the trial has ended and its weights were not kept: keep_weights=True")
        return course.weights

    def stop(self, course: Course, reason: str) -> None:
        """End one trial early, between two steps; the others continue."""
        course.end(Status.STOPPED, reason)
        for group in self.groups:
            group.keep_training()
        self._drop_empty_groups()

    def only(self, courses: Sequence[Course]) -> None:
        """Drop all trials but these, between two steps."""
        kept = {id(course) for course in courses}
        self.courses = [course for course in self.courses if id(course) in kept]
        for group in self.groups:
            group.keep(lambda course: id(course) in kept)
        self._drop_empty_groups()

    def _drop_empty_groups(self) -> None:
        self.groups = [group for group in self.groups if group.courses]


def _groups(courses: Sequence[Course], device: torch.device) -> list[Group]:
    """Group the trials: those of single steps together, each that uses windows by itself."""

    def pack(part: list[Course]) -> Pack:
        def on_drawn(networks: Networks) -> None:
            for course, drawn, why in zip(part, networks.drawn, networks.rejected, strict=True):
                course.drawn = drawn
                if why:
                    course.end(Status.REJECTED, why)

        configs, datasets = [c.config for c in part], [c.dataset for c in part]
        return Pack(configs, datasets, device, on_drawn)

    single = [course for course in courses if course.config.train.integrator == "steps"]
    windows = [course for course in courses if course.config.train.integrator == "windows"]
    groups = [Group(single, pack(single))] if single else []
    return groups + [WindowGroup([course], pack([course])) for course in windows]


def shape(config: TrialConfig, dataset: Dataset) -> tuple[object, ...]:
    """Return what all trials of a pack share: values at PACK_KEYS, and shape (d, n)."""
    return (*operator.attrgetter(*PACK_KEYS)(config), tuple(dataset.x.shape))
