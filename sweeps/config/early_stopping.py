"""Early stopping: ends trials before their budget when others of the sweep do better.

A result that was stopped early belongs to its sweep and is not the result of its config: it
has no rate, and a sweep without early stopping trains the trial to its end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

STOPPED = "stopped"
# Summary metric: the GD step at which the trial was stopped.
STOPPED_AT = "train/stopped_at"


@dataclass(frozen=True)
class NoStoppingConfig:
    """No early stopping: every trial is trained to its end.

    Attributes:
        name: the rule.
    """

    name: Literal["none"] = "none"


@dataclass(frozen=True)
class AshaConfig:
    """Asynchronous successive halving (Li et al. 2020), as Ray Tune implements it.

    A trial that reaches a rung goes on when its relative loss Phi(t) / Phi(0) is among the
    best 1 / reduction_factor of the trials that have reached the rung so far.

    Attributes:
        name: the rule.
        min_steps: GD steps of the first rung; no trial is stopped before it.
        reduction_factor: ratio of the GD steps of one rung to those of the rung before.
    """

    name: Literal["asha"] = "asha"
    min_steps: int = 50
    reduction_factor: int = 4

    def __post_init__(self) -> None:
        """Validate ASHA's parameters."""
        if self.min_steps < 1:
            raise ValueError(f"min_steps must be at least 1, not {self.min_steps}")
        if self.reduction_factor < 2:
            raise ValueError(f"reduction_factor must be at least 2, not {self.reduction_factor}")

    def rungs(self, steps: int) -> list[int]:
        """GD steps of the rungs of a trial with a budget of `steps`."""
        rungs, rung = [], self.min_steps
        while rung < steps:
            rungs.append(rung)
            rung *= self.reduction_factor
        return rungs


EarlyStoppingConfig = NoStoppingConfig | AshaConfig

# Relative losses Phi(t) / Phi(0) of a trial at the rungs it has reached, by GD step.
RungLosses = dict[int, float]


@dataclass(frozen=True)
class Stopping:
    """Early stopping for a worker.

    Attributes:
        config: the rungs.
        ask: returns whether a trial must end; called with its config hash, the rung's GD step
            and the relative loss there.
    """

    config: AshaConfig
    ask: Callable[[str, int, float], bool]

    def ends(self, digest: str, step: int, steps: int, ratio: float) -> bool:
        """Return whether a trial must end at this GD step; never between rungs."""
        return step in self.config.rungs(steps) and self.ask(digest, step, ratio)


def rung_losses(
    config: AshaConfig, columns: Mapping[str, Sequence[float | None]], steps: int
) -> RungLosses:
    """Relative losses of an ended trial at the rungs it reached.

    Args:
        config: the rungs.
        columns: `step` and `loss` of its trajectory.
        steps: the trial's budget of GD steps.
    """
    losses = {int(t or 0): v for t, v in zip(columns["step"], columns["loss"], strict=True)}
    first = losses.get(0)
    if not first:
        return {}
    at_rungs = {rung: losses.get(rung) for rung in config.rungs(steps)}
    return {rung: loss / first for rung, loss in at_rungs.items() if loss is not None}
