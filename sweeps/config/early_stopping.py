"""Early stopping: which trials end before their budget, because others do better.

A stopped trial is a fact of its sweep, not of its configuration: it has no rate, and a sweep
without early stopping trains it to its end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

STOPPED = "stopped"
# The summary metric that says at which GD step.
STOPPED_AT = "train/stopped_at"


@dataclass(frozen=True)
class NoStoppingConfig:
    """Every trial is trained to its end.

    Attributes:
        name: the rule.
    """

    name: Literal["none"] = "none"


@dataclass(frozen=True)
class AshaConfig:
    """Asynchronous successive halving (Li et al. 2020), as Ray Tune has it.

    A trial that comes to a rung goes on when its loss over its first loss, Phi(t) / Phi(0),
    is among the best 1 / reduction_factor of those that came there so far.

    Attributes:
        name: the rule.
        min_steps: GD steps before which none is stopped: the first rung.
        reduction_factor: from one rung to the next the steps grow by it.
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
        """The GD steps, before the last, at which a trial of so many is judged."""
        found, rung = [], self.min_steps
        while rung < steps:
            found.append(rung)
            rung *= self.reduction_factor
        return found


EarlyStoppingConfig = NoStoppingConfig | AshaConfig

# Relative losses Phi(t) / Phi(0) at the rungs that a trial has reached, by GD step.
RungLosses = dict[int, float]


@dataclass(frozen=True)
class Stopping:
    """What a worker needs to end trials early.

    Attributes:
        config: where the rungs are.
        ask: whether a trial, by its config hash, is to end at this rung with this loss over
            its first one.
    """

    config: AshaConfig
    ask: Callable[[str, int, float], bool]

    def ends(self, digest: str, step: int, steps: int, ratio: float) -> bool:
        """Whether a trial is to end; asked of where it is at no rung, it is not."""
        return step in self.config.rungs(steps) and self.ask(digest, step, ratio)


def rung_losses(
    config: AshaConfig, columns: Mapping[str, Sequence[float | None]], steps: int
) -> RungLosses:
    """Relative losses of a trial that has ended, at the rungs it reached.

    Args:
        config: which rungs there are.
        columns: of its trajectory: `step` and `loss`.
        steps: the trial's budget of GD steps.
    """
    losses = {int(t or 0): v for t, v in zip(columns["step"], columns["loss"], strict=True)}
    first = losses.get(0)
    if not first:
        return {}
    seen = {rung: losses.get(rung) for rung in config.rungs(steps)}
    return {rung: loss / first for rung, loss in seen.items() if loss is not None}
