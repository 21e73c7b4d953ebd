"""Change of the sphere that linear and ReLU DEQs stay on, against the step size."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs

KEY, DRIFT = "train.eta", "theory/sphere_drift"


def draw(study: Study) -> bytes:
    """|Relative change of ||I - W||_F^2 + ||U||_F^2| against eta, one series each; PNG."""
    figure, (axes,) = style.panels(1, "Change of the sphere that linear and ReLU DEQs stay on")
    for i, (name, outcomes) in enumerate(study.others(KEY)):
        points = [(eta, abs(drift)) for eta, drift in pairs(outcomes, KEY, DRIFT) if drift]
        style.plot(axes, points, label=name, **style.series(i))
    axes.set(xscale="log", yscale="log", xlabel=r"step size $\eta$, as given")
    axes.set_ylabel(r"relative change of $\|I - W\|_F^2 + \|U\|_F^2$")
    style.legend(axes, outside=True)
    return style.png(figure)
