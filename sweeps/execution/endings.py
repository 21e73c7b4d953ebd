"""Messages on trials that were asked to end, by a person or for their time."""

from collections.abc import Iterator, Mapping

from sweeps.execution.events import Failed, Progress, Stopped
from sweeps.storage.stop_requests import StopRequest


def endings(
    asked: Mapping[str, StopRequest],
    timeout: float,
    steps: Mapping[str, Progress] | None = None,
    *,
    kept: bool = False,
) -> Iterator[Stopped | Failed]:
    """Yield the endings of trials that were asked to end.

    Args:
        asked: why, by config hash.
        timeout: seconds that a trial may train.
        steps: where they are, by config hash; where they hang this is not known.
        kept: whether those that a person stops have a checkpoint.
    """
    for digest, why in asked.items():
        at = (steps or {}).get(digest)
        if why.by:
            yield Stopped(digest, why.by, at.step if at else 0, at.steps if at else 0, kept)
        else:
            where = f"at step {at.step}/{at.steps}" if at else "within a step that did not end"
            said = f"ended after {why.seconds:.0f} s, {where}"
            yield Failed(digest, f"cluster.trial_timeout={timeout:g}: {said}")
