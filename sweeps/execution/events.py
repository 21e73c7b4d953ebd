"""Messages that a worker sends about the trials it trains."""

from dataclasses import dataclass

from sweeps.storage.record import Record
from sweeps.storage.step_metrics import Point
from sweeps.storage.stop_requests import STOPPED_BY


@dataclass(frozen=True)
class Progress:
    """Current step and loss of a trial."""

    config_hash: str
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Done:
    """A trial that ended with a result.

    Attributes:
        record: the result.
        figure: the trial's figure (PNG), where its worker drew it.
    """

    record: Record
    figure: bytes = b""


@dataclass(frozen=True)
class Failed:
    """A trial without a result.

    Attributes:
        config_hash: which.
        error: what it raised, or what became of its worker.
        final: whether trying again is of no use, as when the trial itself raised.
    """

    config_hash: str
    error: str
    final: bool = True


@dataclass(frozen=True)
class Stopped:
    """A trial that a person ended; launched again, it goes on from its checkpoint.

    Attributes:
        config_hash: which.
        by: the person.
        step, steps: where it was; steps is 0 where it had not begun, or that is not known.
        kept: whether there is a checkpoint of that step.
    """

    config_hash: str
    by: str
    step: int = 0
    steps: int = 0
    kept: bool = False

    def __str__(self) -> str:
        where = f" at step {self.step}/{self.steps}" if self.steps else ""
        return f"{STOPPED_BY} {self.by}{where}" + ", checkpoint kept" * self.kept


@dataclass(frozen=True)
class Note:
    """A line for the user about a trial, or about the pack that begins with it."""

    config_hash: str
    text: str


@dataclass(frozen=True)
class Live:
    """Points of a trial that is still training, as its finished run will hold them.

    Attributes:
        config_hash: which.
        started: when its pack began, in milliseconds since the epoch.
        device: where it trains.
        points: those that were not shown before, or all of them after a resume.
    """

    config_hash: str
    started: int
    device: str
    points: list[Point]


Message = Progress | Done | Failed | Stopped | Note | Live
