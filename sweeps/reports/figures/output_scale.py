"""Slacks of the theorem's conditions against sigma_a, to see where they can hold."""

from sweeps.metrics import SLACKS, STRICT
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, pairs

KEY = "model.sigma_a"
CONDITIONS = {name: key for name, key in SLACKS.items() if key != STRICT}


def draw(study: Study) -> bytes:
    """Slack of (7), (8) and (9) against sigma_a, one series for each other choice; PNG."""
    figure, axes = style.panels(len(CONDITIONS), "The theorem's conditions at the best delta")
    for (condition, slack), where in zip(CONDITIONS.items(), axes, strict=True):
        for i, (name, outcomes) in enumerate(study.others(KEY)):
            points = [p for p in pairs(outcomes, KEY, slack) if p[1] > 0]
            style.plot(where, points, label=name, **style.series(i) | {"ls": "none", "ms": 4})
        where.axhline(1, color=style.GREY, lw=1.2, label="holds at 1 and above")
        where.set(xscale="log", yscale="log", xlabel=r"output scale $\sigma_a$")
        where.set_ylabel(f"slack of {condition}: left side / right side")
    style.legend(axes[-1], outside=True)
    return style.png(figure)
