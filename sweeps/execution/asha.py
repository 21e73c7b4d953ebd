"""Ray Tune's ASHA, asked by the trials themselves.

Tune's scheduler would end a whole pack, on a worker that cannot say any more what became of
its trials. Here each trial asks at its rungs, and ends by itself.
"""

import contextlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import ray
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from sweeps.config.early_stopping import AshaConfig, RungLosses


class Asha:
    """Holds the rungs of a sweep; one for all its workers."""

    def __init__(self, config: AshaConfig, known: Mapping[str, RungLosses]) -> None:
        """Begin with what is known of trials that ended before, by config hash."""
        self._trials: dict[str, SimpleNamespace] = {}
        self._asha = AsyncHyperBandScheduler(
            time_attr="step",
            metric="loss",
            mode="min",
            max_t=10**15,  # every rung below; a trial asks only before its last step
            grace_period=config.min_steps,
            reduction_factor=config.reduction_factor,
        )
        for digest, seen in known.items():
            for step, ratio in seen.items():
                self.should_stop(digest, step, ratio)

    def should_stop(self, digest: str, step: int, ratio: float) -> bool:
        """Whether a trial is to end at this rung."""
        if digest not in self._trials:
            self._trials[digest] = SimpleNamespace(trial_id=digest)
            self._asha.on_trial_add(None, self._trials[digest])
        said = self._asha.on_trial_result(None, self._trials[digest], {"step": step, "loss": ratio})
        return bool(said == TrialScheduler.STOP)


class RemoteAsha:
    """A judge in a process of its own, on the Ray this process is connected to."""

    def __init__(self, config: AshaConfig, known: Mapping[str, RungLosses]) -> None:
        self._judge: Any = ray.remote(num_cpus=0)(Asha).remote(config, dict(known))

    def __call__(self, digest: str, step: int, ratio: float) -> bool:
        """Whether a trial is to end; without a judge, as when its node died, none is."""
        with contextlib.suppress(ray.exceptions.RayError):
            return bool(ray.get(self._judge.should_stop.remote(digest, step, ratio)))
        return False


def in_process(
    config: AshaConfig, known: Mapping[str, RungLosses]
) -> Callable[[str, int, float], bool]:
    """A judge in this very process."""
    return Asha(config, known).should_stop
