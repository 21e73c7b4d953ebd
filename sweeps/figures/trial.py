"""One trial: its loss beside the linearised prediction and the theorem's bound."""

from sweeps.figures import style
from sweeps.record import Record


def draw(record: Record) -> bytes:
    """Loss against step: measured, linearised, bound; the fit's window shaded; PNG."""
    model, summary = record.config["model"], record.summary
    title = f"{model['activation']}, width {model['width']}, seed {record.config['seed']}"
    figure, (axes,) = style.panels(1, title)
    steps = style.numbers(record.trajectory["step"])
    loss = style.numbers(record.trajectory["loss"])
    axes.semilogy(steps, loss, color=style.colour(0), lw=2, label="measured")
    predicted = (("linearized", "--", "linearised at t = 0"), ("bound", ":", "theorem's bound"))
    for i, (name, dash, text) in enumerate(predicted, start=1):
        logs = record.trajectory.get(f"log_loss_{name}")
        if logs and any(v is not None for v in logs):
            values = style.exponential(logs)
            axes.semilogy(steps, values, dash, color=style.colour(i), lw=1.8, label=text)
    if "rate/measured" in summary:
        window = (summary["rate/window_start"], summary["rate/window_stop"])
        axes.axvspan(*window, color=style.GREY, alpha=0.12, label="fit's window")
    style.around(axes, loss)
    axes.set(xlabel="GD step $t$", ylabel=r"loss $\Phi(t)$")
    style.legend(axes)
    return style.png(figure)
