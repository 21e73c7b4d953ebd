"""Train a trial in windows where they pay, and by single steps elsewhere.

One row is recorded for each GD step, as with single steps. A window is solved when its first
step is due. From then on the weights are those of its end, and its rows follow one by one.
"""

from collections.abc import Callable

import torch

from deq.training.course import COLUMNS, Course, Row
from deq.training.group import Group
from deq.training.pack import Pack
from deq.training.state import State
from deq.training.weights import Weights, input_weights
from deq.training.windows.attempts import Attempts


class WindowGroup(Group):
    """A group of one trial that trains in windows.

    While the rows of a window are recorded, the pack has the weights of the window's end.
    """

    STATE = (*Group.STATE, "windows")

    def __init__(self, courses: list[Course], pack: Pack) -> None:
        super().__init__(courses, pack)
        (self._course,) = courses
        n, m = pack.p.shape[1:]
        self._attempts = Attempts(self._course.config, n, m, pack.phi)
        self._rows: list[Row] = []  # of the coming steps of a window

    @classmethod
    def restored(cls, courses: list[Course], state: State) -> "WindowGroup":
        """Rebuild a group from its state and the courses of the whole descent."""
        group = super().restored(courses, state)
        assert isinstance(group, WindowGroup)
        group._load(state["windows"])
        return group

    def advance(self, step: int) -> None:
        """Record the row of `step`; then begin a window or take a single step, if none is open."""
        if self._rows:
            self._course.rows.append(self._rows.pop(0))
            self._course.check_stop()
            self.keep_training()
        else:
            before = self._course.products
            self.measure(step)
            if self.courses:
                self._attempts.add_step(step, self.pack, self._course.products - before)
        if self.courses and not self._rows:
            self._rows = self._attempts.rows(step, self._course, self.pack, self.diagnostics)
            if not self._rows:
                self.lookahead.descend()

    def split_off_float64(self) -> list[Group]:
        """Take the trial out if it continues in float64; return its group."""
        groups = [] if self._rows else super().split_off_float64()
        return [WindowGroup(group.courses, group.pack) for group in groups]

    def keep(self, stays: Callable[[Course], bool]) -> list[int]:
        """Keep the trial if `stays` is true for it.

        If it stopped inside a window, its weights become those of the step that comes next.
        """
        if self._rows and any(course.status is not None for course in self.courses):
            self._attempts.rewind(self._course, self.pack, self._next_step)
            self._rows = []
        return super().keep(stays)

    def weights(self, place: int) -> Weights:
        """Return the current weights: those of the step that comes next."""
        if not self._rows:
            return super().weights(place)
        course = self._course
        network = self._attempts.weights(course, self.pack, self._next_step)
        u = input_weights(course.config, course.dataset, network.p)
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
        self._attempts.load(state, self._course, self.pack)
