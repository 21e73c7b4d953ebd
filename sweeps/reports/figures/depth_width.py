"""Networks of finite depth and width, beside the equilibrium of infinite width."""

from collections.abc import Sequence

import deq
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.figures import laws, style
from sweeps.reports.figures.study import Study, means, value
from sweeps.reports.figures.style import Axes
from sweeps.reports.networks import OF_NETWORK, once

WIDTH = "model.width"
# Metrics of ||G^(l)/m - K||_F with l and dash.
ERRORS = (
    ("theory/depth_error_1", "$l = 1$", ":"),
    ("theory/depth_error_2", "$l = 2$", "-."),
    ("theory/depth_error_4", "$l = 4$", "--"),
    ("theory/gram_error", r"$l = \infty$", "-"),
)
# Width of a 95 percent interval in standard errors, on each side.
QUANTILE = 1.96


def draw(study: Study) -> bytes:
    """Factors per layer, distances from K and kurtosis of the outputs, against the width; PNG."""
    figure, (factors, errors, kurtosis) = style.panels(3, "Depth and width")
    widths = [float(value(x, WIDTH)) for x in study.outcomes]
    for i, (name, trials) in enumerate(study.groups("model.activation").items()):
        outcomes = once(trials, OF_NETWORK)
        _factors(factors, i, name, outcomes)
        _errors(errors, i, name, outcomes)
        _kurtosis(kurtosis, i, name, outcomes)
    laws.reference(
        errors, means(once(study.outcomes, OF_NETWORK), WIDTH, ERRORS[-1][0]), -0.5, "$m^{-1/2}$"
    )
    style.log_y(errors)
    factors.axhline(1, color=style.GREY, lw=1, label="proven")
    kurtosis.axhline(0, color=style.GREY, lw=1, label="Gaussian")
    factors.set(ylim=(0, 1.05), ylabel="factor per layer over the proven one")
    errors.set_ylabel(r"$\|G^{(l)}/m - K\|_F$, mean over networks")
    kurtosis.set_ylabel("excess kurtosis of the outputs, 95 %")
    for axes in (factors, errors, kurtosis):
        style.log2_ticks(axes, widths)
        axes.set_xlabel("width $m$")
        style.legend(axes)
    return style.png(figure)


def _factors(axes: Axes, i: int, name: str, outcomes: Sequence[TrialOutcome]) -> None:
    """Factor per layer of G and of K over the proven one, of each network."""
    for end, text, fill in (("", "$G^{(l)}$", "full"), ("_limit", "$K^{(l)}$", "none")):
        factor, bound = (f"theory/depth_{part}{end}" for part in ("factor", "bound"))
        points = [
            (float(value(x, WIDTH)), x.summary[factor] / x.summary[bound])
            for x in outcomes
            if factor in x.summary and x.summary.get(bound)
        ]
        look = style.series(i) | {"ls": "none", "ms": 4, "fillstyle": fill}
        style.plot(axes, points, label=f"{name}: {text}", **look)


def _errors(axes: Axes, i: int, name: str, outcomes: Sequence[TrialOutcome]) -> None:
    """Mean distance from K at several depths and at the equilibrium, with the latter's slope."""
    for metric, text, dash in ERRORS:
        points = means(outcomes, WIDTH, metric)
        slope = laws.slope(points) if metric == ERRORS[-1][0] else ""
        label = f"{name}, {text}{slope}"
        style.plot(axes, points, label=label, ls=dash, lw=1.4, color=style.colour(i))


def _kurtosis(axes: Axes, i: int, name: str, outcomes: Sequence[TrialOutcome]) -> None:
    """Excess kurtosis over the networks of each width, with that of Gaussians of random scale."""
    measured, scale = [], []
    for width in sorted({float(value(x, WIDTH)) for x in outcomes}):
        networks = [x.summary for x in outcomes if value(x, WIDTH) == width]
        parts = ("output_square", "output_fourth", "gram_diagonal", "gram_diagonal_square")
        kept = [x for x in networks if f"theory/{parts[0]}" in x]
        squares, fourths, energies, seconds = (
            [x[f"theory/{part}"] for x in kept] for part in parts
        )
        if kurtosis := deq.excess_kurtosis(squares, fourths):
            measured.append((width, kurtosis.value, QUANTILE * kurtosis.stderr))
        if kurtosis := deq.excess_kurtosis(energies, [3 * second for second in seconds]):
            scale.append((width, kurtosis.value))
    if measured:
        at, values, errors = zip(*measured, strict=True)
        axes.errorbar(at, values, errors, label=name, capsize=3, **style.series(i) | {"ls": "none"})
    style.plot(axes, scale, label=rf"{name}: $3\,Var(s)/E[s]^2$", lw=1.4, color=style.colour(i))
