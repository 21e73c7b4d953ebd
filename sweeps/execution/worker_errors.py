"""Parse Ray's error text: how a worker died, and the cause."""

from sweeps.execution.retry import FailureCause
from sweeps.redaction import without_secrets


def times(count: int) -> str:
    """Return a count as an adverb: once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def parse_worker_error(text: str) -> tuple[str, FailureCause]:
    """Return a line on how a worker died, and the cause, from Ray's error text."""
    text = without_secrets(" ".join(text.split()))
    if "running low on memory" in text:
        return "Ray ended it, since its node was running out of memory", FailureCause.MEMORY
    if "node has died" in text or "node died" in text or "temporarily unavailable" in text:
        return "its node died or does not answer", FailureCause.NODE
    if "connection error code 2" in text:
        how = "its process was killed, or crashed, or the kernel ended it for memory"
        return how, FailureCause.WORKER
    return text[-300:] or "Ray does not say how", FailureCause.WORKER
