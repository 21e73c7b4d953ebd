"""Figure of one trial: its loss with the linearised prediction and the theorem's bound."""

import functools
import threading
from typing import Any

from sweeps.reports.figures import style
from sweeps.storage.record import Record

PREDICTED = (
    ("linearized", "--", "linearised at t = 0"),
    ("bound", ":", "bound, guaranteed where (7)-(10) hold"),
)
# Limits that give the widest tick labels, for the layout.
WIDEST = (1e-30, 1.0)
_lock = threading.Lock()


def draw(record: Record) -> bytes:
    """Loss against step: measured, linearised, bound; the window of the fit is shaded; PNG."""
    shown = tuple(name for name, _, _ in PREDICTED if _has(record, f"log_loss_{name}"))
    with _lock:
        return _template(shown, "rate/measured" in record.summary).draw(record)


def _has(record: Record, column: str) -> bool:
    """Return whether the column has a value."""
    return any(v is not None for v in record.trajectory.get(column, ()))


@functools.cache
def _template(shown: tuple[str, ...], fitted: bool) -> "_Template":
    """The figure to reuse for trials with these predictions."""
    return _Template(shown, fitted)


class _Template:
    """A figure that is reused with the numbers of each trial.

    Making axes, ticks and layout takes four times as long as drawing the curves.
    """

    def __init__(self, shown: tuple[str, ...], fitted: bool) -> None:
        self._figure, (self._axes,) = style.panels(1, " ")
        self._title = self._figure.suptitle(" ")
        (self._loss,) = self._plot("-", 2.0, style.colour(0), "measured")
        self._predicted: dict[str, Any] = {}
        for i, (name, dash, text) in enumerate(PREDICTED, start=1):
            if name in shown:
                (self._predicted[name],) = self._plot(dash, 1.8, style.colour(i), text)
        self._window: Any = None
        if fitted:
            look: dict[str, Any] = {"color": style.GREY, "alpha": 0.12, "label": "fit's window"}
            self._window = self._axes.axvspan(0, 1, **look)
        self._axes.set(xlabel="GD step $t$", ylabel=r"loss $\Phi(t)$", ylim=WIDEST)
        style.legend(self._axes)
        style.fix_layout(self._figure)

    def _plot(self, dash: str, width: float, colour: str, text: str) -> Any:
        return self._axes.semilogy([0, 1], WIDEST, dash, color=colour, lw=width, label=text)

    def draw(self, record: Record) -> bytes:
        """Draw the numbers of a trial; PNG."""
        model, summary = record.config["model"], record.summary
        seed = record.config["seed"]
        self._title.set_text(f"{model['activation']}, width {model['width']}, seed {seed}")
        steps = style.numbers(record.trajectory["step"])
        loss = style.numbers(record.trajectory["loss"])
        self._loss.set_data(steps, loss)
        for name, line in self._predicted.items():
            line.set_data(steps, style.exponential(record.trajectory[f"log_loss_{name}"]))
        if self._window is not None:
            start, stop = summary["rate/window_start"], summary["rate/window_stop"]
            self._window.set(x=start, width=stop - start)
        self._axes.relim()
        self._axes.autoscale()
        style.around(self._axes, loss)
        return style.quick_png(self._figure)
