"""The door to matplotlib: theory and measurement where one would rather look."""

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from sweeps.record import Record
from sweeps.report import Line

mpl.use("Agg")


def trial(record: Record) -> bytes:
    """Loss against step: measured, linearised, the theorem's bound; PNG."""
    figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    steps = [step or 0.0 for step in record.trajectory["step"]]
    axes.semilogy(steps, _numbers(record.trajectory["loss"]), label="measured", lw=2)
    for name, text in (("linearized", "linearised at t = 0"), ("bound", "theorem's bound")):
        logs = record.trajectory.get(f"log_loss_{name}")
        if logs:
            axes.semilogy(steps, [_exp(v) for v in logs], "--", label=text)
    s = record.summary
    if "rate/measured" in s:
        axes.axvspan(s["rate/window_start"], s["rate/window_stop"], alpha=0.08, label="fit window")
    model = record.config["model"]
    axes.set(
        xlabel="GD step",
        ylabel="loss",
        title=f"{model['activation']}, width {model['width']}, seed {record.config['seed']}",
    )
    axes.legend()
    axes.grid(alpha=0.3)
    return _png(figure)


def sweep(lines: Sequence[Line]) -> bytes:
    """Measured, linearised and bound's rate against width, by activation; PNG."""
    figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    models = [(line.planned.plain["model"], line.summary) for line in lines]
    names = sorted({str(model["activation"]) for model, _ in models})
    styles = (("rate/measured", "o"), ("rate/linearized", "x"), ("rate/bound", "_"))
    for i, name in enumerate(names):
        mine = [(model["width"], found) for model, found in models if model["activation"] == name]
        for key, marker in styles:
            known = [(width, found[key]) for width, found in mine if key in found]
            if known:
                label = f"{name}, {key.split('/')[1]}"
                axes.plot(*zip(*known, strict=True), marker, color=f"C{i}", label=label, alpha=0.8)
    axes.set(xlabel="width m", ylabel="rate, nats per GD step", title="Rates: theory, measurement")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    if axes.has_data():
        axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    return _png(figure)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if v is None else v for v in values]


def _exp(value: float | None) -> float:
    return math.nan if value is None or not -700 < value < 700 else math.exp(value)


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()
