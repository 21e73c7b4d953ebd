"""Loss curves with what was predicted, and ||W||_2 along the way (Ling et al., figure 1)."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study
from sweeps.storage.record import Columns


def draw(study: Study) -> bytes:
    """One trial of each cell: loss, its linearised prediction, its bound; and ||W(t)||_2."""
    figure, (left, right) = style.panels(2, "One trial of each cell")
    measured: list[float] = []
    for i, (name, line) in enumerate(study.first_of_groups()):
        columns = study.trajectory(line.planned.config_hash)
        if columns is None:
            continue
        look = {"color": style.colour(i)}
        steps = style.numbers(columns["step"])
        measured += style.numbers(columns["loss"])
        marked = style.series(i) | {"ms": 4, "markevery": max(1, len(steps) // 8)}
        left.semilogy(steps, style.numbers(columns["loss"]), lw=2, label=name, **marked)
        for column, dash in (("log_loss_linearized", "--"), ("log_loss_bound", ":")):
            if column in columns:
                left.semilogy(steps, style.exponential(columns[column]), dash, lw=1, **look)
        right.plot(*_known(columns, "norm_w"), **style.series(i), ms=3, lw=1.2, label=name)
    style.around(left, measured)
    left.set(xlabel="GD step $t$", ylabel=r"loss $\Phi(t)$")
    left.set_title("measured (line), linearised (dashes), bound (dots)", fontsize="medium")
    right.set(xlabel="GD step $t$", ylabel=r"$\|W(t)\|_2$")
    right.set_title("largest singular value of $W$", fontsize="medium")
    style.legend(right, outside=True)
    return style.png(figure)


def _known(columns: Columns, name: str) -> tuple[list[float], list[float]]:
    """Steps and values where the column was measured."""
    rows = zip(columns["step"], columns[name], strict=True)
    found = [(t, v) for t, v in rows if t is not None and v is not None]
    return [t for t, _ in found], [v for _, v in found]
