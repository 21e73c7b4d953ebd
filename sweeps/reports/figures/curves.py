"""Loss curves with their predictions, and ||W||_2 (Ling et al., figure 1)."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study
from sweeps.reports.frames import measured


def draw(study: Study) -> bytes:
    """Loss, linearised prediction, bound, and ||W(t)||_2 of one trial of each group; PNG."""
    firsts, count = study.first_of_groups()
    shown = "" if len(firsts) == count else f", {len(firsts)} of {count} groups"
    figure, (left, right) = style.panels(2, f"One trial of each group of seeds{shown}")
    losses: list[float] = []
    for i, (name, outcome) in enumerate(firsts):
        columns = study.trajectory(outcome.planned.config_hash)
        if columns is None:
            continue
        steps = style.numbers(columns["step"])
        losses += style.numbers(columns["loss"])
        marked = style.series(i) | {"ms": 4, "markevery": max(1, len(steps) // 8)}
        left.semilogy(steps, style.numbers(columns["loss"]), lw=2, label=name, **marked)
        for column, dash in (("log_loss_linearized", "--"), ("log_loss_bound", ":")):
            if column in columns:
                left.semilogy(
                    steps, style.exponential(columns[column]), dash, lw=1, color=style.colour(i)
                )
        norms = measured(columns, "norm_w")
        right.plot(norms.index, norms, **style.series(i), ms=3, lw=1.2, label=name)
    style.around(left, losses)
    left.set(xlabel="GD step $t$", ylabel=r"loss $\Phi(t)$")
    left.set_title("measured (line), linearised (dashes), bound (dots)", fontsize="medium")
    right.set(xlabel="GD step $t$", ylabel=r"$\|W(t)\|_2$")
    right.set_title("largest singular value of $W$", fontsize="medium")
    style.legend(right, outside=True)
    return style.png(figure)
