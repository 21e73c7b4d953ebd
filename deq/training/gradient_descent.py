"""Gradient descent on packs of DEQs, one GD step at a time."""

import operator
import time
from collections.abc import Iterator, Sequence

import torch

from deq.config import PACK_KEYS, TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.hardware import forbid_tf32
from deq.theory.rejection_sampling import Networks
from deq.training.group import Group
from deq.training.pack import Pack
from deq.training.state import State, state_dict
from deq.training.training_run import Status, TrainingRun
from deq.training.weights import Weights
from deq.training.windows.group import WindowGroup


class GradientDescent:
    """Gradient descent on B trials of one shape; each trial ends independently.

    theta(t+1) = theta(t) - eta grad Phi(theta(t)), theta = (W, U, a), full batch
    (docs/theory.md, section 1). Iterating yields after every GD step, so that the caller can
    read `runs` or stop.

    Attributes:
        runs: the training run of every trial, in the order given.
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
            keep_weights: whether a run holds its trial's weights once it has ended.

        Raises:
            ValueError: the trials differ in shape.
        """
        if len({shape(c, s) for c, s in zip(configs, datasets, strict=True)}) > 1:
            raise ValueError("a pack holds trials of one shape, activation, dtype and solver")
        forbid_tf32()
        pairs = zip(configs, datasets, strict=True)
        self.runs = [TrainingRun(*pair, keep_weights=keep_weights) for pair in pairs]
        self.groups = _groups(self.runs, torch.device(device))
        self.step = 0

    @classmethod
    def restored(
        cls,
        configs: Sequence[TrialConfig],
        datasets: Sequence[Dataset],
        state: State,
        *,
        keep_weights: bool = False,
    ) -> "GradientDescent":
        """Rebuild the descent of these trials from its `state`, on the device of its tensors."""
        forbid_tf32()
        descent = cls.__new__(cls)
        parts = zip(configs, datasets, state["runs"], strict=True)
        descent.runs = [TrainingRun.restored(*part) for part in parts]
        descent.groups = [
            (WindowGroup if "windows" in part else Group).restored(descent.runs, part)
            for part in state["groups"]
        ]
        for run in descent.runs:
            run.keep_weights = keep_weights
        descent.step = state["step"]
        return descent

    def state(self) -> State:
        """Return all that later steps depend on, between two steps. Tensors are shared."""
        index = {id(run): k for k, run in enumerate(self.runs)}
        groups = [
            state_dict(group) | {"runs": [index[id(run)] for run in group.runs]}
            for group in self.groups
        ]
        runs = [run.state() for run in self.runs]
        return {"step": self.step, "runs": runs, "groups": groups}

    def __iter__(self) -> Iterator[int]:
        """Train until every trial has ended; yield each step after it was measured."""
        while self.groups:
            for group in list(self.groups):
                started, alive = time.perf_counter(), group.runs
                group.advance(self.step)
                self.groups += group.split_off_float64()
                for run in alive:
                    run.seconds += (time.perf_counter() - started) / len(alive)
            self._drop_empty_groups()
            self.step += 1
            yield self.step - 1

    def weights(self, k: int) -> Weights:
        """Return the current weights of trial k, or its last ones if they were kept.

        Raises:
            ValueError: the trial has ended and its weights were not kept.
        """
        run = self.runs[k]
        for group in self.groups:
            for place, other in enumerate(group.runs):
                if other is run:
                    return group.weights(place)
        if run.weights is None:
            raise ValueError("the trial has ended and its weights were not kept: keep_weights=True")
        return run.weights

    def stop(self, run: TrainingRun, reason: str) -> None:
        """End one trial early, between two steps; the others continue."""
        run.end(Status.STOPPED, reason)
        for group in self.groups:
            group.keep_training()
        self._drop_empty_groups()

    def only(self, runs: Sequence[TrainingRun]) -> None:
        """Drop all trials but these, between two steps."""
        kept = {id(run) for run in runs}
        self.runs = [run for run in self.runs if id(run) in kept]
        for group in self.groups:
            group.keep(lambda run: id(run) in kept)
        self._drop_empty_groups()

    @property
    def courses(self) -> list[TrainingRun]:  # earlier name
        """`runs` by its earlier name."""  # earlier name
        return self.runs

    def _drop_empty_groups(self) -> None:
        self.groups = [group for group in self.groups if group.runs]


Descent = GradientDescent  # earlier name


def _groups(runs: Sequence[TrainingRun], device: torch.device) -> list[Group]:
    """Group the trials: those of single steps together, each that uses windows by itself."""

    def pack(part: list[TrainingRun]) -> Pack:
        def on_drawn(networks: Networks) -> None:
            for run, drawn, why in zip(part, networks.drawn, networks.rejected, strict=True):
                run.drawn = drawn
                if why:
                    run.end(Status.REJECTED, why)

        configs, datasets = [c.config for c in part], [c.dataset for c in part]
        return Pack(configs, datasets, device, on_drawn)

    single = [run for run in runs if run.config.train.integrator == "steps"]
    windows = [run for run in runs if run.config.train.integrator == "windows"]
    groups = [Group(single, pack(single))] if single else []
    return groups + [WindowGroup([run], pack([run])) for run in windows]


def shape(config: TrialConfig, dataset: Dataset) -> tuple[object, ...]:
    """Return what all trials of a pack share: values at PACK_KEYS, and shape (d, n)."""
    return (*operator.attrgetter(*PACK_KEYS)(config), tuple(dataset.x.shape))
