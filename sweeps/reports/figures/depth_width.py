"""Networks of finite depth and width, beside the equilibrium of infinite width."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, value
from sweeps.reports.figures.style import Axes

WIDTH = "model.width"


def draw(study: Study) -> bytes:
    """Factor per layer of G and of K over the proven ones, against the width; PNG."""
    figure, (factors,) = style.panels(1, "Depth and width")
    _factors(factors, study)
    factors.set_xlabel("width $m$")
    style.legend(factors, outside=True)
    return style.png(figure)


def _factors(axes: Axes, study: Study) -> None:
    """Draw the factors of every network."""
    widths: list[float] = []
    for i, (name, outcomes) in enumerate(study.groups("model.activation").items()):
        for end, text, fill in (("", "$G^{(l)}$", "full"), ("_limit", "$K^{(l)}$", "none")):
            factor, bound = (f"theory/depth_{part}{end}" for part in ("factor", "bound"))
            points = [
                (float(value(x, WIDTH)), x.summary[factor] / x.summary[bound])
                for x in outcomes
                if factor in x.summary and x.summary.get(bound)
            ]
            look = style.series(i) | {"ls": "none", "ms": 4, "fillstyle": fill}
            style.plot(axes, points, label=f"{name}: {text}", **look)
            widths += [m for m, _ in points]
    axes.axhline(1, color=style.GREY, lw=1, label="proven")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("factor per layer over the proven one")
    style.log2_ticks(axes, widths)
