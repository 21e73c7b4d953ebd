"""Test losses of networks and kernels, and how far kernels and weights move."""

from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, leaf, means, pairs

# (metric, name in the legend, line style).
LOSSES = (
    ("test/loss", "network", "-"),
    ("test/loss_linearized", "linearised, $H(0)$", "--"),
    ("test/loss_population", r"regression with $H_\infty$", ":"),
    ("test/loss_gram", "regression with $K$", "-."),
)
MOVES = (
    ("theory/kernel_drift", r"$\|H(T) - H(0)\|_F\ /\ \|H(0)\|_F$"),
    ("theory/distance_over_delta", r"distance / $\delta$: the theorem has it at most 1"),
)


def draw(study: Study) -> bytes:
    """Test losses, kernel drift and distance over delta against the main axis; PNG.

    Points are trials; lines are means over the seeds.
    """
    figure, (left, *right) = style.panels(3, "Held-out samples, and how far training moves")
    key = study.axis
    for i, (name, outcomes) in enumerate(study.others(key)):
        for metric, text, dash in LOSSES:
            line = means(outcomes, key, metric)
            style.plot(left, line, color=style.colour(i), ls=dash, lw=1.4, label=f"{name}: {text}")
        for axes, (metric, _) in zip(right, MOVES, strict=True):
            points = [p for p in pairs(outcomes, key, metric) if p[1] > 0]
            style.plot(axes, points, label=name, **style.series(i) | {"ls": "none", "ms": 4})
            style.plot(axes, means(outcomes, key, metric), color=style.colour(i), lw=1)
    values = [x for metric, _, _ in LOSSES for x, _ in pairs(study.outcomes, key, metric)]
    left.set(ylabel=r"$\frac{1}{2}$ mean $(\hat{y} - y)^2$ over held-out samples")
    if left.has_data():  # room for the legend
        low, high = left.get_ylim()
        left.set_ylim(low, high + 0.8 * (high - low))
    for axes, (_, text) in zip(right, MOVES, strict=True):
        axes.set(ylabel=text)
        style.log_y(axes)
    for axes in (left, *right):
        style.log2_ticks(axes, values)
        axes.set_xlabel(leaf(key))
        style.legend(axes)
    return style.png(figure)
