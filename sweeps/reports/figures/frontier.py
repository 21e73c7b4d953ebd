"""Frontier search: the interval that contains each cell's frontier, against the main axis."""

import math

from sweeps.config.search import FrontierConfig
from sweeps.planning.outcomes import labels_of
from sweeps.planning.plan import main_axis
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, leaf, value
from sweeps.search.frontiers import Boundary, boundaries, growths_of
from sweeps.search.growth import Growth

ETA = "train.eta"


def draw(study: Study) -> bytes:
    """Bars from the last value that held to the first that failed; PNG.

    There is one series for each choice of the other keys. An arrow marks a frontier outside
    the searched interval. Lines are fitted power laws, dashed ones the growth of Theorem 2.
    """
    search = study.search
    if not isinstance(search, FrontierConfig):
        return style.png(style.panels(1, "Frontier")[0])
    figure, (axes,) = style.panels(1, f"Frontier of {search.key}: {search.condition}")
    with_bracket = [each for each in boundaries(search, study.outcomes) if each.bracket]
    axis = main_axis([each.cell for each in with_bracket]) or ""
    labels, groups = labels_of(study.outcomes), dict[str, tuple[str, list[Boundary]]]()
    for each in with_bracket:
        rest = {k: v for k, v in each.cell.items() if k not in (axis, "seed")}
        name = labels(rest) if rest else str(value(each.outcome, "model.activation"))
        groups.setdefault(repr(rest), (name, []))[1].append(each)
    for i, (name, group) in enumerate(groups.values()):
        colour, marker = style.series(i).values()
        inside = [(e, e.bracket.ends) for e in group if e.bracket and e.bracket.ends]
        if inside:
            xs = [_x(e, axis) for e, _ in inside]
            middles = [(low + high) / 2 for _, (low, high) in inside]
            halves = [(high - low) / 2 for _, (low, high) in inside]
            axes.errorbar(
                xs, middles, halves, label=name, color=colour, marker=marker, ls="none", capsize=5
            )
        for each in group:
            if each.bracket and each.bracket.ends is None:
                _arrow(axes, each, _x(each, axis), colour)
    _growths(axes, growths_of(search, with_bracket))
    _prediction(axes, study, search.key)
    style.log2_ticks(axes, [_x(each, axis) for each in with_bracket] if axis else [])
    axes.set(xlabel=leaf(axis) if axis else "", ylabel=search.key)
    if search.interval.scale == "log":
        style.log_y(axes)
    style.legend(axes)
    return style.png(figure)


def _growths(axes: style.Axes, growths: list[Growth]) -> None:
    """Draw the fitted power laws, and Theorem 2's growth through the middle of each."""
    for i, growth in enumerate(growths):
        xs = sorted(growth.ends)
        middle = math.sqrt(math.prod(xs))
        level = growth.law.scale * middle**growth.law.exponent
        for law, dash, name in (
            (growth.law, "-", "fitted"),
            (growth.theorem, "--", "growth of Theorem 2"),
        ):
            if law:
                ys = [level * (x / middle) ** law.exponent for x in xs]
                text = f"{name}: ${leaf(growth.axis)}^{{{law.exponent:.2f}}}$"
                axes.plot(xs, ys, dash, color=style.colour(i), lw=1, label=text)


def _arrow(axes: style.Axes, boundary: Boundary, x: float, colour: str) -> None:
    """Mark an end of the interval: up if the condition held everywhere, down if nowhere."""
    assert boundary.bracket is not None
    held, failed = boundary.bracket.held, boundary.bracket.failed
    y, marker = (held, "^") if held is not None else (failed, "v")
    assert y is not None
    axes.plot([x], [y], color=colour, marker=marker, ls="none", ms=9, mfc="none")


def _x(boundary: Boundary, axis: str) -> float:
    return float(boundary.cell[axis]) if axis else 0.0


def _prediction(axes: style.Axes, study: Study, key: str) -> None:
    """Draw the linearisation's limit of eta if eta's unit makes it 1."""
    units = {value(x, "train.eta_unit") for x in study.outcomes}
    if key == ETA and units == {"tangent"}:
        text = r"linearised: $\eta = 2/\lambda_{max}(H(0))$"
        axes.axhline(1, color=style.GREY, ls="--", lw=1, label=text)
