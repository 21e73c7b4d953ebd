"""Convergence of a network to the infinite-width limit."""

import deq
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs
from sweeps.reports.figures.style import Axes

WIDTH = "model.width"


def draw(study: Study) -> bytes:
    """||G(0)/m - K||_F with fitted slopes, and lambda_0/m with lambda_star, against m; PNG."""
    figure, (left, right) = style.panels(2, "Approach to the infinite-width limit")
    widths: list[float] = []
    for i, (name, outcomes) in enumerate(study.groups("model.activation").items()):
        errors = pairs(outcomes, WIDTH, "theory/gram_error")
        widths += [m for m, _ in errors]
        look = style.series(i) | {"ls": "none", "ms": 4}
        slope = _slope(errors) if errors else ""
        style.plot(left, errors, label=f"{name}{slope}", **look)
        least = pairs(outcomes, WIDTH, "theory/lambda_0_over_m")
        style.plot(right, least, label=f"{name}: $\\lambda_0/m$", **look)
        stars = [s for _, s in pairs(outcomes, WIDTH, "theory/lambda_star")]
        if stars:
            colour = style.colour(i)
            right.axhline(stars[0], color=colour, lw=1, label=rf"{name}: $\lambda_*$")
            right.axhline(stars[0] / 2, color=colour, lw=1, ls=":", label=rf"{name}: $\lambda_*/2$")
    _reference(left, study)
    for axes in (left, right):
        style.log_y(axes)
        style.log2_ticks(axes, widths)
        axes.set_xlabel("width $m$")
    left.set_ylabel(r"$\|G(0)/m - K\|_F$")
    right.set_ylabel(r"least eigenvalue of $G(0)/m$")
    style.legend(left)
    style.legend(right, outside=True)
    return style.png(figure)


def _slope(points: list[tuple[float, float]]) -> str:
    """The fitted power law, for the legend."""
    law = deq.power_law(*zip(*points, strict=True))
    return "" if law is None else f": $m^{{{law.exponent:.2f} \\pm {law.stderr:.2f}}}$"


def _reference(axes: Axes, study: Study) -> None:
    """Draw the slope -1/2 of the theory through the geometric middle of all points."""
    points = pairs(study.lines, WIDTH, "theory/gram_error")
    law = deq.power_law(*zip(*points, strict=True)) if points else None
    if law is None:
        return
    ends = (points[0][0], points[-1][0])
    middle = (ends[0] * ends[1]) ** 0.5
    level = law.scale * middle**law.exponent
    axes.plot(
        ends,
        [level * (m / middle) ** -0.5 for m in ends],
        color=style.GREY,
        label="theory: $m^{-1/2}$",
    )
