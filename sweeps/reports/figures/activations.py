"""Comparison of activations: lambda_star, and the rates."""

from collections.abc import Sequence
from typing import Any

import deq
from sweeps.planning.outcomes import TrialOutcome
from sweeps.reports.figures import style
from sweeps.reports.figures.rates import KINDS
from sweeps.reports.figures.study import Study

# (metric, name in the legend, style).
LEAST: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("theory/lambda_star", r"$\lambda_*$", {"mfc": "none"}),
    ("theory/lambda_0_over_m", r"$\lambda_0/m$", {}),
)
RATES = tuple((metric, text, dict[str, Any]()) for metric, text, _, _ in KINDS)


def draw(study: Study) -> bytes:
    """Least eigenvalues and rates of each activation, means over its trials; PNG.

    Sorted by lambda_star. Rates are those of trials whose rate could be measured.
    """
    groups = study.groups("model.activation")
    names = sorted(groups, key=lambda name: -(_mean(groups[name], "theory/lambda_star") or 0.0))
    height = max(3.6, 0.34 * len(groups) + 1.4)
    figure, (left, right) = style.panels(2, "Activations", height=height)
    for axes, shown in ((left, LEAST), (right, RATES)):
        for i, (metric, text, options) in enumerate(shown):
            points = [
                (mean, row)
                for row, name in enumerate(names)
                if (mean := _mean(_comparable(groups[name], metric), metric))
            ]
            style.plot(axes, points, ls="none", label=text, **style.series(i) | options)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
        if axes.has_data():
            axes.set_xscale("log")
        style.legend(axes)
    left.set_xlabel("least eigenvalue (absent: not resolved above rounding)")
    right.set_xlabel(f"{style.RATE} (absent: no rate measured)")
    return style.png(figure)


def _comparable(outcomes: Sequence[TrialOutcome], metric: str) -> Sequence[TrialOutcome]:
    """The trials whose metric counts: a predicted rate only beside a measured one."""
    if not metric.startswith("rate/"):
        return outcomes
    return [x for x in outcomes if "rate/measured" in x.summary]


def _mean(outcomes: Sequence[TrialOutcome], metric: str) -> float | None:
    """Mean of the positive values, for a logarithmic axis; None if there are none."""
    values = [x.summary[metric] for x in outcomes if x.summary.get(metric, 0.0) > 0]
    return deq.mean(values).value if values else None
