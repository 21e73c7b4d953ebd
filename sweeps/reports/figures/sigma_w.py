"""The well-posedness frontier: norms, rates and solver steps around sigma_w^2 = 1/(8 L^2)."""

import math
from collections.abc import Sequence

from deq.activations.lookup import activation
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs, value
from sweeps.reports.figures.style import Axes

KEY = "model.sigma_w2"


def draw(study: Study) -> bytes:
    """||W(0)||_2, the rates and the products per equilibrium against sigma_w^2; PNG."""
    figure, axes = style.panels(3, "The well-posedness frontier")
    for i, (name, outcomes) in enumerate(study.others(KEY)):
        look = style.series(i)
        for where, column, first in ((axes[0], "norm_w", True), (axes[2], "forward_steps", False)):
            points = _column(study, outcomes, column, first=first)
            style.plot(where, points, ls="none", label=name, **look)
        for metric, more in (("measured", {}), ("linearized", {"mfc": "none"})):
            points = pairs(outcomes, KEY, f"rate/{metric}")
            style.plot(axes[1], points, ls="none", label=f"{name}, {metric}", **look | more)
        ill_posed = [x for x in outcomes if x.status == "ill_posed"]
        for x in sorted({float(value(each, KEY)) for each in ill_posed}):
            axes[1].plot(
                x, 0.04, "x", color=style.colour(i), transform=axes[1].get_xaxis_transform()
            )
    _theory(axes, study)
    axes[0].set_ylabel(r"$\|W(0)\|_2$")
    axes[1].set_ylabel(style.RATE)
    axes[1].set_title("x: no equilibrium was reached", fontsize="medium")
    axes[2].set_ylabel("products with $W$ per equilibrium")
    for where in axes:
        where.set_xlabel(r"$\sigma_w^2$")
        style.legend(where)
    return style.png(figure)


def _theory(axes: Sequence[Axes], study: Study) -> None:
    """Draw the limit 2 sqrt(2) sigma_w of ||W||_2, and 1/(8 L^2) for each activation."""
    xs = sorted({float(value(each, KEY)) for each in study.outcomes})
    if xs:
        grid = [xs[0] + (xs[-1] - xs[0]) * k / 100 for k in range(101)]
        norms = [2 * math.sqrt(2 * x) for x in grid]
        axes[0].plot(grid, norms, color=style.GREY, label=r"$2\sqrt{2}\,\sigma_w$")
    names = {str(value(each, "model.activation")) for each in study.outcomes}
    limits = {1 / (8 * activation(name).lipschitz ** 2) for name in names}
    for limit in sorted(x for x in limits if not xs or x <= 1.2 * xs[-1]):
        for where in axes:
            where.axvline(limit, color=style.GREY, ls=":", lw=1.2)
        axes[0].plot([], [], color=style.GREY, ls=":", label=f"$1/(8L^2)$ = {limit:.4g}")


def _column(
    study: Study, outcomes: Sequence[TrialOutcome], column: str, *, first: bool
) -> list[tuple[float, float]]:
    """(sigma_w^2, first or mean value of a trajectory's column) for each trial, sorted."""
    points = []
    for outcome in outcomes:
        columns = study.trajectory(outcome.planned.config_hash)
        values = [v for v in (columns or {}).get(column, []) if v is not None]
        if values:
            y = values[0] if first else sum(values) / len(values)
            points.append((float(value(outcome, KEY)), y))
    return sorted(points)
