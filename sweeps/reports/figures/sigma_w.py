"""The well-posedness frontier: what happens as sigma_w^2 nears and passes 1/(8 L^2)."""

import math
from collections.abc import Sequence

from deq.activations.lookup import activation
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs, value
from sweeps.reports.figures.style import Axes

KEY = "model.sigma_w2"


def draw(study: Study) -> bytes:
    """||W(0)||_2, the rates and the products per equilibrium against sigma_w^2."""
    figure, axes = style.panels(3, "The well-posedness frontier")
    for i, (name, lines) in enumerate(study.others(KEY)):
        look = style.series(i)
        for where, column, first in ((axes[0], "norm_w", True), (axes[2], "forward_steps", False)):
            found = _column(study, lines, column, first=first)
            if found:
                where.plot(*zip(*found, strict=True), ls="none", label=name, **look)
        for metric, more in (("measured", {}), ("linearized", {"mfc": "none"})):
            found = pairs(lines, KEY, f"rate/{metric}")
            if found:
                axes[1].plot(
                    *zip(*found, strict=True), ls="none", label=f"{name}, {metric}", **look | more
                )
        lost = [s for s in lines if s.status == "ill_posed"]
        for x in sorted({float(value(s, KEY)) for s in lost}):
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
    """||W||_2 -> 2 sqrt(2) sigma_w, and the limits 1/(8 L^2)."""
    xs = sorted({float(value(line, KEY)) for line in study.lines})
    if xs:
        grid = [xs[0] + (xs[-1] - xs[0]) * k / 100 for k in range(101)]
        norms = [2 * math.sqrt(2 * x) for x in grid]
        axes[0].plot(grid, norms, color=style.GREY, label=r"$2\sqrt{2}\,\sigma_w$")
    limits = {1 / (8 * activation(name).lipschitz ** 2) for name in _names(study)}
    for limit in sorted(x for x in limits if not xs or x <= 1.2 * xs[-1]):
        for where in axes:
            where.axvline(limit, color=style.GREY, ls=":", lw=1.2)
        axes[0].plot([], [], color=style.GREY, ls=":", label=f"$1/(8L^2)$ = {limit:.4g}")


def _names(study: Study) -> set[str]:
    return {str(value(line, "model.activation")) for line in study.lines}


def _column(
    study: Study, lines: Sequence[TrialOutcome], column: str, *, first: bool
) -> list[tuple[float, float]]:
    """(sigma_w^2, first or mean value of a trajectory's column)."""
    found = []
    for line in lines:
        columns = study.trajectory(line.planned.config_hash)
        known = [v for v in (columns or {}).get(column, []) if v is not None]
        if known:
            found.append((float(value(line, KEY)), known[0] if first else sum(known) / len(known)))
    return sorted(found)
