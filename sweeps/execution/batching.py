"""Reports of a worker: results with their figures, and messages in batches."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator

from sweeps.execution.events import Done, Message

# Seconds between two reports of a pack. Tune takes some milliseconds for each; the messages
# of so many seconds are lost when a worker dies.
EVERY = 0.5


def with_figures(messages: Iterable[Message]) -> Iterator[Message]:
    """Add the figure to each result here, since there are more workers than drivers."""
    for message in messages:
        if not isinstance(message, Done) or not message.record.trajectory["loss"]:
            yield message
            continue
        figure = b""
        with contextlib.suppress(Exception):  # an error in the figure must not lose the result
            from sweeps.reports.figures import trial

            figure = trial.draw(message.record)
        yield dataclasses.replace(message, figure=figure)


def batched(messages: Iterable[Message], every: float = EVERY) -> Iterator[list[Message]]:
    """Yield messages in batches, at most one in `every` seconds."""
    waiting: list[Message] = []
    last = -every
    for message in messages:
        waiting.append(message)
        if time.monotonic() - last >= every:
            yield waiting
            waiting, last = [], time.monotonic()
    if waiting:
        yield waiting
