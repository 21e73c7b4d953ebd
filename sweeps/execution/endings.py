"""Messages on trials that were asked to end, by a person or because their time is over."""

from collections.abc import Iterator, Mapping

from sweeps.execution.events import Failed, Progress, Stopped
from sweeps.storage.stop_requests import StopRequest


def endings(
    requests: Mapping[str, StopRequest],
    timeout: float,
    steps: Mapping[str, Progress] | None = None,
    *,
    kept: bool = False,
) -> Iterator[Stopped | Failed]:
    """Yield a message on each trial that was asked to end.

    Args:
        requests: the requests, by config hash.
        timeout: seconds that a trial may train.
        steps: GD steps that the trials have taken, by config hash; unknown of those that hang.
        kept: whether those that a person stops have a checkpoint.
    """
    for digest, request in requests.items():
        at = (steps or {}).get(digest)
        if request.by:
            yield Stopped(digest, request.by, at.step if at else 0, at.steps if at else 0, kept)
        else:
            place = f"at step {at.step}/{at.steps}" if at else "within a step that did not end"
            ended = f"ended after {request.seconds:.0f} s, {place}"
            yield Failed(digest, f"cluster.trial_timeout={timeout:g}: {ended}")
