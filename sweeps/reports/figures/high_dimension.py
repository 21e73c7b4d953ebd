"""Distance of K from its explicit equivalents, against the dimension."""

from sweeps.reports.figures import laws, style
from sweeps.reports.figures.study import Study, means
from sweeps.reports.networks import OF_KERNEL, once

DIMENSION = "data.d"


def draw(study: Study) -> bytes:
    """Spectral norm of K minus its matrix and minus the shallow kernel, with fitted slopes; PNG."""
    figure, (matrix, shallow) = style.panels(2, "Equivalents of K in high dimension")
    dimensions: list[float] = []
    for i, (name, trials) in enumerate(study.groups("model.activation").items()):
        outcomes = once(trials, OF_KERNEL)
        for axes, metric in (
            (matrix, "theory/equivalent_error"),
            (shallow, "theory/shallow_error"),
        ):
            points = means(outcomes, DIMENSION, metric)
            dimensions += [d for d, _ in points]
            label = f"{name}{laws.slope(points, 'd')}"
            style.plot(axes, points, label=label, **style.series(i), ls="none")
        claimed = means(outcomes, DIMENSION, "theory/equivalent_error_isotropic")
        positive = [(d, error) for d, error in claimed if error > 0]
        style.plot(matrix, positive, color=style.colour(i), lw=1.2)
    for axes, metric, power, label in (
        (matrix, "theory/equivalent_error", -0.5, "$d^{-1/2}$"),
        (shallow, "theory/shallow_error", -1.0, "$d^{-1}$"),
    ):
        laws.reference(
            axes, means(once(study.outcomes, OF_KERNEL), DIMENSION, metric), power, label
        )
        style.log_y(axes)
        style.log2_ticks(axes, dimensions)
        axes.set_xlabel("dimension $d$")
        style.legend(axes)
    matrix.set_ylabel(r"$\|K - (a_0 1 1^T + a_1 C + a_2 T + b I)\|_2$ (line: predicted)")
    shallow.set_ylabel(r"$\|K - K_{shallow}\|_2$")
    return style.png(figure)
