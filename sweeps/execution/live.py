"""Step metrics and machine use that a worker sends while a trial trains.

The finished run holds every point that was sent, with the same time; also after a resume from
a checkpoint, when steps are repeated. For that, the times at which points are sent are written
beside the pack's checkpoints first.
"""

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deq
from sweeps.execution.system_metrics import Sampler
from sweeps.storage.record import Columns, now
from sweeps.storage.step_metrics import Clock, Point, Thinning, is_kept, system_points
from sweeps.storage.whole_files import write_json

FILE = "shown.json"


@dataclass
class SentPoints:
    """Record of the points of a pack that were sent so far.

    Attributes:
        moments: (number of rows of the trajectory, milliseconds since the epoch) of each report.
        samples: (milliseconds since the epoch, machine use by metric).
        sampled: number of samples that were taken; not all later ones are kept.
    """

    moments: list[tuple[int, int]] = field(default_factory=list)
    samples: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    sampled: int = 0

    @classmethod
    def read(cls, path: Path) -> "SentPoints":
        """Read the file; return an empty record if it cannot be read."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            plain = json.loads(path.read_text())
            moments = [(int(rows), int(at)) for rows, at in plain["moments"]]
            samples = [(int(at), dict(values)) for at, values in plain["samples"]]
            return cls(moments, samples, int(plain["sampled"]))
        return cls()

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_json(path, vars(self))

    def environment(self, rows: int) -> dict[str, Any]:
        """Return what a trial whose trajectory has this many rows keeps in its record."""
        if not self.moments:
            return {}
        return {"moments": [m for m in self.moments if m[0] <= rows], "system": self.samples}


class LiveSender:
    """Sends new points of a pack's trials at an interval.

    Attributes:
        shown: the points that were sent so far.
    """

    def __init__(
        self, every: float, started: int, folder: Path | None, *, resumed: bool, device: str
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            every: seconds between two reports; 0: none.
            started: when the pack began, in milliseconds since the epoch.
            folder: folder of the pack's checkpoints; None if it writes none.
            resumed: whether the pack continues from a checkpoint.
            device: cpu or cuda.
        """
        self._every, self._started, self._last = every, started, time.monotonic()
        self._path = folder / FILE if folder else None
        self.shown = SentPoints.read(self._path) if self._path and resumed else SentPoints()
        self._trials: dict[int, _Trial] = {}
        self._sampler = Sampler(device)

    def points(self, runs: dict[int, deq.TrainingRun]) -> Iterator[tuple[int, list[Point]]]:
        """Yield the new points of each trial, by its index, if it is time."""
        if not self._every or time.monotonic() - self._last < self._every:
            return
        runs = {k: run for k, run in runs.items() if run.rows}
        if not runs:
            return
        self._last = time.monotonic()
        try:
            self._begin(min(len(run.rows) for run in runs.values()))
        except OSError:  # a full disk: points are only sent once their time is written
            return
        for k, run in runs.items():
            trial = self._trials.setdefault(k, _Trial(run))
            yield k, trial.points(run, Clock(self._started, self.shown.moments), self.shown)

    def _begin(self, rows: int) -> None:
        """Write down that the points of this many rows are sent now."""
        shown = SentPoints([*self.shown.moments], [*self.shown.samples], self.shown.sampled)
        if not shown.moments or rows > shown.moments[-1][0]:
            shown.moments.append((rows, now()))
        self._sample(shown)
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            shown.write(self._path)
        self.shown = shown

    def _sample(self, shown: SentPoints) -> None:
        if is_kept(shown.sampled):
            shown.samples.append((now(), self._sampler.sample()))
        shown.sampled += 1


class _Trial:
    """Points of one trial as its trajectory grows."""

    def __init__(self, run: deq.TrainingRun) -> None:
        self._thinning, self._curves, self._rows = Thinning(), deq.curves_of(run), 0
        self._samples = 0

    def points(self, run: deq.TrainingRun, clock: Clock, shown: SentPoints) -> list[Point]:
        system = system_points(shown.samples, self._samples)
        self._samples = len(shown.samples)
        end = min(len(run.rows), clock.moments[-1][0])
        columns = plain_columns(deq.columns(run, self._curves, self._rows, end))
        self._rows = end
        return self._thinning.add(columns, clock) + system


def plain_columns(columns: dict[str, Any]) -> Columns:
    """Return columns of tensors as lists, with None for NaN and infinity."""
    return {
        name: [v if math.isfinite(v) else None for v in values.tolist()]
        for name, values in columns.items()
    }
