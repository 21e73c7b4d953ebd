"""Networks of finite depth: distance from the equilibrium, and least eigenvalues."""

from collections.abc import Sequence

import deq
from sweeps.reports.figures import style

LAYER = "depth $l$"


def draw(series: Sequence[tuple[str, deq.FiniteDepth]]) -> bytes:
    """Change of G^(l) and K^(l), error of tied and untied weights, least eigenvalues; PNG.

    Args:
        series: name and numbers of each trial.
    """
    figure, (changes, errors, least) = style.panels(3, "Networks of finite depth")
    for i, (name, numbers) in enumerate(series):
        colour = style.colour(i)
        for axes, values, dash, text in (
            (changes, numbers.change, "-", r"$G^{(l)}$"),
            (changes, numbers.change_limit, ":", r"$K^{(l)}$"),
            (errors, numbers.error, "-", "tied"),
            (errors, numbers.error_untied, "--", "untied"),
            (least, _over(numbers.least, numbers.lambda_0), "-", r"$G^{(l)}$"),
            (least, _over(numbers.least_limit, numbers.lambda_star), ":", r"$K^{(l)}$"),
        ):
            points = [(float(depth), v) for depth, v in enumerate(values, 1) if v > 0]
            style.plot(axes, points, ls=dash, lw=1.4, label=f"{name}: {text}", color=colour)
        if numbers.cut_close:
            least.axvline(numbers.cut_close, ls="-", lw=0.6, color=colour)
    least.axhline(0.5, color=style.GREY, lw=1, label="1/2, the theorem's")
    changes.set(ylabel="relative distance from the equilibrium's, Frobenius")
    errors.set(ylabel=r"$\|G^{(l)}/m - K^{(l)}\|_F$")
    least.set(ylabel=r"$\lambda_{min}$ over the equilibrium's (line: within 1 %)")
    style.log_y(changes)
    for axes in (changes, errors, least):
        axes.set_xlabel(LAYER)
        style.legend(axes)
    return style.png(figure)


def _over(values: Sequence[float], whole: float) -> list[float]:
    return [value / whole for value in values]
