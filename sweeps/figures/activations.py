"""Activations side by side: lambda_star, and the rates."""

from typing import Any

import deq
from sweeps.figures import style
from sweeps.figures.rates import KINDS
from sweeps.figures.study import Study

LEAST: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("theory/lambda_star", r"$\lambda_*$", {"mfc": "none"}),
    ("theory/lambda_0_over_m", r"$\lambda_0/m$", {}),
)


def draw(study: Study) -> bytes:
    """Least eigenvalues and rates of each activation; means over its trials."""
    groups = study.groups("model.activation")
    height = max(3.6, 0.34 * len(groups) + 1.4)
    figure, (left, right) = style.panels(2, "Activations", height=height)
    kinds = tuple((metric, text, dict[str, Any]()) for metric, text, _, _ in KINDS)
    for axes, shown in ((left, LEAST), (right, kinds)):
        for i, (metric, text, look) in enumerate(shown):
            found = [
                (deq.mean(values).value, row)
                for row, lines in enumerate(groups.values())
                if (values := [s.summary[metric] for s in lines if s.summary.get(metric, 0) > 0])
            ]
            if found:
                marks = style.series(i) | look
                axes.plot(*zip(*found, strict=True), ls="none", label=text, **marks)
        axes.set_yticks(range(len(groups)), list(groups))
        axes.set_ylim(max(len(groups), 1) - 0.5, -0.5)
        if axes.has_data():
            axes.set_xscale("log")
        style.legend(axes)
    left.set_xlabel("least eigenvalue (absent: not resolved above rounding)")
    right.set_xlabel(style.RATE)
    return style.png(figure)
