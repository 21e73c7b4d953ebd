"""A search for the best point: every trial's objective in the order tried, and the best so far."""

from sweeps.config.search import OptunaConfig
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study
from sweeps.search.summary import best_points


def draw(study: Study) -> bytes:
    """The best value so far against the number of points tried, a line for each cell."""
    search = study.search
    if not isinstance(search, OptunaConfig):
        return style.png(style.panels(1, "Best so far")[0])
    figure, (axes,) = style.panels(1, f"Best so far of {search.metric}")
    for i, best in enumerate(best_points(search, study.lines)):
        if best.history:
            steps = [*best.history, (best.tried, best.history[-1][1])]
            look = style.series(i)
            axes.plot(*zip(*steps, strict=True), label=best.name, drawstyle="steps-post", **look)
    axes.set(xlabel="points tried", ylabel=search.metric)
    style.legend(axes)
    return style.png(figure)
