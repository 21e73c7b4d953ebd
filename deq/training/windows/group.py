"""Train a trial in windows where they pay, and by single steps elsewhere.

One row is recorded for each GD step, as with single steps. A window is solved when its first
step is due. From then on the weights are those of its end, and its rows follow one by one.
"""

from collections.abc import Callable

import torch

from deq.training.group import Group
from deq.training.pack import Pack
from deq.training.state import State
from deq.training.training_run import COLUMNS, Row, TrainingRun
from deq.training.weights import Weights, input_weights
from deq.training.windows.attempts import Attempts


class WindowGroup(Group):
    """A group of one trial that trains in windows.

    While the rows of a window are recorded, the pack has the weights of the window's end.
    """

    STATE = (*Group.STATE, "windows")

    def __init__(self, runs: list[TrainingRun], pack: Pack) -> None:
        super().__init__(runs, pack)
        (self._run,) = runs
        n, m = pack.p.shape[1:]
        self._attempts = Attempts(self._run.config, n, m, pack.phi)
        self._rows: list[Row] = []  # of the coming steps of a window

    @classmethod
    def restored(cls, runs: list[TrainingRun], state: State) -> "WindowGroup":
        """Rebuild a group from its state and the runs of the whole descent."""
        group = super().restored(runs, state)
        assert isinstance(group, WindowGroup)
        group._load(state["windows"])
        return group

    def advance(self, step: int) -> None:
        """Record the row of `step`; then begin a window or take a single step, if none is open."""
        if self._rows:
            self._run.rows.append(self._rows.pop(0))
            self._run.check_stop()
            self.keep_training()
        else:
            before = self._run.products
            self.measure(step)
            if self.runs:
                self._attempts.add_step(step, self.pack, self._run.products - before)
        if self.runs and not self._rows:
            self._rows = self._attempts.rows(step, self._run, self.pack, self.diagnostics)
            if not self._rows:
                self.lookahead.descend()

    def split_off_float64(self) -> list[Group]:
        """Take the trial out if it continues in float64; return its group."""
        groups = [] if self._rows else super().split_off_float64()
        return [WindowGroup(group.runs, group.pack) for group in groups]

    def keep(self, stays: Callable[[TrainingRun], bool]) -> list[int]:
        """Keep the trial if `stays` is true for it.

        If it stopped inside a window, its weights become those of the step that comes next.
        """
        if self._rows and any(run.status is not None for run in self.runs):
            self._attempts.rewind(self._run, self.pack, self._next_step)
            self._rows = []
        return super().keep(stays)

    def weights(self, place: int) -> Weights:
        """Return the current weights: those of the step that comes next."""
        if not self._rows:
            return super().weights(place)
        run = self._run
        network = self._attempts.weights(run, self.pack, self._next_step)
        u = input_weights(run.config, run.dataset, network.p)
        return Weights(network.w.cpu(), u, network.a.cpu())

    @property
    def _next_step(self) -> int:
        return int(self._rows[0]["step"])

    @property
    def windows(self) -> State:
        """State of the windows and of the rows to come, as plain data and tensors."""
        rows = [[row[name] for name in COLUMNS] for row in self._rows]
        table = torch.tensor(rows, dtype=torch.float64).view(-1, len(COLUMNS))
        return self._attempts.state() | {"rows": table}

    def _load(self, state: State) -> None:
        rows = state["rows"].tolist()
        self._rows = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        self._attempts.load(state, self._run, self.pack)
