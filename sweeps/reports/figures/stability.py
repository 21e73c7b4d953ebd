"""Stability limit of gradient descent: rate against step size."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs, value

ETA = "train.eta"


def draw(study: Study) -> bytes:
    """Measured and linearised rate against eta, and the diverged trials; PNG."""
    figure, (axes,) = style.panels(1, "Rate against step size")
    for i, (name, outcomes) in enumerate(study.others(ETA, each=3)):
        for metric, text, more in (
            ("rate/measured", "measured", {"ls": "none"}),
            ("rate/linearized", "linearised", {"ls": "--", "marker": ""}),
        ):
            points = pairs(outcomes, ETA, metric)
            style.plot(axes, points, label=f"{name}, {text}", **style.series(i) | more)
        diverged = [x for x in outcomes if x.status in ("diverged", "ill_posed")]
        # They have no rate: crosses at the foot of the panel, one row for each series.
        foot = [
            (eta, 0.03 + 0.04 * (i % 5)) for eta in sorted({float(value(x, ETA)) for x in diverged})
        ]
        look = {"color": style.colour(i), "marker": "x", "ls": "none"}
        transform = axes.get_xaxis_transform()
        style.plot(axes, foot, label=f"{name}, diverged", transform=transform, **look)
    units = {value(x, "train.eta_unit") for x in study.outcomes}
    if units == {"tangent"}:
        axes.axvline(1, color=style.GREY, lw=1, label=r"$\eta = 2/\lambda_{max}(H(0))$")
    measured = [rate for _, rate in pairs(study.outcomes, ETA, "rate/measured")]
    if measured:  # without the linearised rates, which fall without bound past the limit
        axes.set_ylim(min(0.0, *measured) - 0.15 * max(measured), 1.4 * max(measured))
    axes.set(xlabel=_unit(units), ylabel=style.RATE)
    style.legend(axes, outside=True)
    return style.png(figure)


def _unit(units: set[str]) -> str:
    """Label of the x axis."""
    labels = {
        "tangent": r"$\eta$ / ($2/\lambda_{max}(H(0))$)",
        "population": r"$\eta$ / ($2/\lambda_{max}(H_\infty)$)",
        "absolute": r"$\eta$",
        "theorem": r"$\eta$ / bound (10)",
    }
    return labels.get(next(iter(units)), r"$\eta$") if len(units) == 1 else r"$\eta$, in its unit"
