"""Early stopping by Ray Tune's ASHA: each trial asks at its rungs, and ends by itself.

Tune's own scheduler would end a whole pack, on a worker that could no longer report its trials.
"""

import contextlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import ray
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from sweeps.config.early_stopping import AshaConfig, RungLosses


class Asha:
    """Rungs of a sweep; one object for all its workers."""

    def __init__(self, config: AshaConfig, ended: Mapping[str, RungLosses]) -> None:
        """Begin with the rung losses of trials that have ended, by config hash."""
        self._trials: dict[str, SimpleNamespace] = {}
        self._asha = AsyncHyperBandScheduler(
            time_attr="step",
            metric="loss",
            mode="min",
            max_t=10**15,  # above every rung; a trial asks only before its last step
            grace_period=config.min_steps,
            reduction_factor=config.reduction_factor,
        )
        for digest, losses in ended.items():
            for step, ratio in losses.items():
                self.should_stop(digest, step, ratio)

    def should_stop(self, digest: str, step: int, ratio: float) -> bool:
        """Return whether a trial is to end at a rung.

        Args:
            digest: the trial's config hash.
            step: the rung's GD step.
            ratio: the trial's loss there, divided by its first loss.
        """
        if digest not in self._trials:
            self._trials[digest] = SimpleNamespace(trial_id=digest)
            self._asha.on_trial_add(None, self._trials[digest])
        result = {"step": step, "loss": ratio}
        decision = self._asha.on_trial_result(None, self._trials[digest], result)
        return bool(decision == TrialScheduler.STOP)


class RemoteAsha:
    """Asha in a Ray actor, for workers on the Ray that this process is connected to."""

    def __init__(self, config: AshaConfig, ended: Mapping[str, RungLosses]) -> None:
        self._actor: Any = ray.remote(num_cpus=0)(Asha).remote(config, dict(ended))

    def __call__(self, digest: str, step: int, ratio: float) -> bool:
        """Return `Asha.should_stop`; False if the actor is lost, as when its node died."""
        with contextlib.suppress(ray.exceptions.RayError):
            return bool(ray.get(self._actor.should_stop.remote(digest, step, ratio)))
        return False


def in_process(
    config: AshaConfig, ended: Mapping[str, RungLosses]
) -> Callable[[str, int, float], bool]:
    """Return `Asha.should_stop` of an Asha in this process."""
    return Asha(config, ended).should_stop
