"""Conserved quantities, final rate and distance moved of single-index DEQs."""

from sweeps.reports.figures import laws, style
from sweeps.reports.figures.study import Study, pairs, value
from sweeps.reports.figures.style import Axes

ETA = "train.eta"
DRIFTS = (
    ("theory/sphere_drift", r"sphere $(1 - w)^2 + \|u\|^2$"),
    ("theory/sphere_drift_output", "circle $(1 - w)^2 + a^2$"),
)


def draw(study: Study) -> bytes:
    """Drift of sphere and circle, final rate and distance over the predicted ones; PNG."""
    figure, panels = style.panels(3, "Single-index DEQs (width 1, ReLU) that reached loss 0")
    drift, rate, distance = panels
    reached = Study([x for x in study.outcomes if x.status == "converged"], study.trajectory)
    for i, (metric, name) in enumerate(DRIFTS):
        networks = reached.groups("seed").items()
        points: list[tuple[float, float]] = []
        seeds: list[str] = []
        for seed, outcomes in networks:
            points += pairs(outcomes, ETA, metric)
            seeds += [seed] * (len(points) - len(seeds))
        law = laws.slope(points, r"\eta", seeds)
        look = style.series(i) | {"ls": "none", "ms": 4, "alpha": 0.7}
        style.plot(drift, points, label=f"{name}{law}", **look)
    laws.reference(drift, pairs(reached.outcomes, ETA, DRIFTS[0][0]), 1.0, r"$\eta$")
    drift.margins(y=0.3)  # room for the legend
    style.log_y(drift)
    _over(rate, reached, "rate/measured_end", "rate/single_index")
    _over(distance, reached, "train/distance", "theory/minimum_distance")
    drift.set_ylabel("relative change from start to end")
    rate.set_ylabel("final rate, measured over predicted at step 0")
    distance.set_ylabel("distance moved, measured over predicted at step 0")
    for axes in panels:
        style.log2_ticks(axes, [float(value(x, ETA)) for x in reached.outcomes])
        axes.set_xlabel(r"step size $\eta$")
        style.legend(axes)
    return style.png(figure)


def _over(axes: Axes, study: Study, measured: str, predicted: str) -> None:
    """Plot a metric over its prediction against eta, a line for each network."""
    for i, (seed, outcomes) in enumerate(study.groups("seed").items()):
        points = sorted(
            (float(value(x, ETA)), x.summary[measured] / x.summary[predicted])
            for x in outcomes
            if x.summary.get(predicted) and measured in x.summary
        )
        style.plot(axes, points, label=f"seed {seed}", **style.series(i), ms=4, lw=1)
    if axes.has_data():
        axes.axhline(1, color=style.GREY, lw=1, zorder=0)
