"""Where gradient descent stops to converge: rate against step size."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs, value

ETA = "train.eta"


def draw(study: Study) -> bytes:
    """Measured and linearised rate against eta in units of 2 / lambda_max; diverged trials."""
    figure, (axes,) = style.panels(1, "Rate against step size")
    for i, (name, lines) in enumerate(study.others(ETA)):
        look = style.series(i)
        for metric, text, more in (
            ("rate/measured", "measured", {"ls": "none"}),
            ("rate/linearized", "linearised", {"ls": "--", "marker": ""}),
        ):
            found = pairs(lines, ETA, metric)
            if found:
                axes.plot(*zip(*found, strict=True), label=f"{name}, {text}", **look | more)
        ended = [s for s in lines if s.status in ("diverged", "ill_posed")]
        lost = sorted({float(value(s, ETA)) for s in ended})
        if lost:
            # At the foot of the panel, one row for each series: there is no rate to show.
            foot = [0.03 + 0.04 * (i % 5)] * len(lost)
            look = {"color": style.colour(i), "marker": "x", "ls": "none"}
            axes.plot(
                lost,
                foot,
                transform=axes.get_xaxis_transform(),
                label=f"{name}, diverged",
                **look,
            )
    units = {value(line, "train.eta_unit") for line in study.lines}
    if units == {"tangent"}:
        axes.axvline(1, color=style.GREY, lw=1, label=r"$\eta = 2/\lambda_{max}(H(0))$")
    measured = [rate for _, rate in pairs(study.lines, ETA, "rate/measured")]
    if measured:  # the linearised rate falls without bound past the limit
        axes.set_ylim(min(0.0, *measured) - 0.15 * max(measured), 1.4 * max(measured))
    axes.set(xlabel=_unit(units), ylabel=style.RATE)
    style.legend(axes, outside=True)
    return style.png(figure)


def _unit(units: set[str]) -> str:
    known = {
        "tangent": r"$\eta$ / ($2/\lambda_{max}(H(0))$)",
        "population": r"$\eta$ / ($2/\lambda_{max}(H_\infty)$)",
        "absolute": r"$\eta$",
        "theorem": r"$\eta$ / bound (10)",
    }
    return known.get(next(iter(units)), r"$\eta$") if len(units) == 1 else r"$\eta$, in its unit"
