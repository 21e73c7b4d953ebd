"""Best value so far of a search for the best point."""

from sweeps.config.search import OptunaConfig
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study
from sweeps.search.best import best_points


def draw(study: Study) -> bytes:
    """Best value so far against the number of points tried, one line for each cell; PNG."""
    search = study.search
    if not isinstance(search, OptunaConfig):
        return style.png(style.panels(1, "Best so far")[0])
    figure, (axes,) = style.panels(1, f"Best so far of {search.metric}")
    for i, best in enumerate(best_points(search, study.outcomes)):
        if best.history:
            steps = [*best.history, (best.tried, best.history[-1][1])]
            style.plot(axes, steps, label=best.name, drawstyle="steps-post", **style.series(i))
    axes.set(xlabel="points tried", ylabel=search.metric)
    style.legend(axes)
    return style.png(figure)
