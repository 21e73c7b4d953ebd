"""What a worker reports: its trials' figures drawn, and not more often than Tune can take."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator

from sweeps.execution.events import Done, Message

# Seconds between two reports of a pack: Tune takes some milliseconds for each, and a
# worker that dies has at most so much to say that was not said.
EVERY = 0.5


def with_figures(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, with the figure of each result: there are more workers than drivers."""
    for message in messages:
        if not isinstance(message, Done) or not message.record.trajectory["loss"]:
            yield message
            continue
        figure = b""
        with contextlib.suppress(Exception):  # a result is worth more than its figure
            from sweeps.reports.figures import trial

            figure = trial.draw(message.record)
        yield dataclasses.replace(message, figure=figure)


def batched(messages: Iterable[Message], every: float = EVERY) -> Iterator[list[Message]]:
    """The messages that come within so many seconds, as one report; what comes late, at once."""
    waiting: list[Message] = []
    last = -every
    for message in messages:
        waiting.append(message)
        if time.monotonic() - last >= every:
            yield waiting
            waiting, last = [], time.monotonic()
    if waiting:
        yield waiting
