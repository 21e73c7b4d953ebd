"""Convergence of a network to the infinite-width limit."""

from sweeps.reports.figures import laws, style
from sweeps.reports.figures.study import Study, pairs
from sweeps.reports.networks import OF_NETWORK, once

WIDTH = "model.width"


def draw(study: Study) -> bytes:
    """||G(0)/m - K||_F with fitted slopes, and lambda_0/m with lambda_star, against m; PNG."""
    figure, (left, right) = style.panels(2, "Approach to the infinite-width limit")
    widths: list[float] = []
    for i, (name, trials) in enumerate(study.groups("model.activation").items()):
        outcomes = once(trials, OF_NETWORK)
        errors = pairs(outcomes, WIDTH, "theory/gram_error")
        widths += [m for m, _ in errors]
        look = style.series(i) | {"ls": "none", "ms": 4}
        style.plot(left, errors, label=f"{name}{laws.slope(errors)}", **look)
        least = pairs(outcomes, WIDTH, "theory/lambda_0_over_m")
        style.plot(right, least, label=f"{name}: $\\lambda_0/m$", **look)
        stars = [s for _, s in pairs(outcomes, WIDTH, "theory/lambda_star")]
        if stars:
            colour = style.colour(i)
            right.axhline(stars[0], color=colour, lw=1, label=rf"{name}: $\lambda_*$")
            right.axhline(stars[0] / 2, color=colour, lw=1, ls=":", label=rf"{name}: $\lambda_*/2$")
    errors = pairs(once(study.outcomes, OF_NETWORK), WIDTH, "theory/gram_error")
    laws.reference(left, errors, -0.5, "theory: $m^{-1/2}$")
    for axes in (left, right):
        style.log_y(axes)
        style.log2_ticks(axes, widths)
        axes.set_xlabel("width $m$")
    left.set_ylabel(r"$\|G(0)/m - K\|_F$")
    right.set_ylabel(r"least eigenvalue of $G(0)/m$")
    style.legend(left)
    style.legend(right, outside=True)
    return style.png(figure)
