"""Messages that a worker sends about the trials it trains."""

from dataclasses import dataclass

from sweeps.storage.record import Record
from sweeps.storage.step_metrics import Live
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
        figure: the trial's figure (PNG); empty if its worker did not draw it.
    """

    record: Record
    figure: bytes = b""


@dataclass(frozen=True)
class Failed:
    """A trial without a result.

    Attributes:
        config_hash: the trial.
        error: the error it raised, or how its worker died.
        final: whether trying again would not help, as when the trial itself raised an error.
    """

    config_hash: str
    error: str
    final: bool = True


@dataclass(frozen=True)
class Stopped:
    """A trial that a person stopped; launched again, it continues from its checkpoint.

    Attributes:
        config_hash: the trial.
        by: the person.
        step, steps: GD steps that it has taken, of how many; 0 if it had not begun or hangs.
        kept: whether there is a checkpoint of that step.
    """

    config_hash: str
    by: str
    step: int = 0
    steps: int = 0
    kept: bool = False

    def __str__(self) -> str:
        step = f" at step {self.step}/{self.steps}" if self.steps else ""
        return f"{STOPPED_BY} {self.by}{step}" + ", checkpoint kept" * self.kept


@dataclass(frozen=True)
class Note:
    """A line for the user about a trial, or about the pack whose first trial it is."""

    config_hash: str
    text: str


Message = Progress | Done | Failed | Stopped | Note | Live
