"""A frontier search: the interval that holds each cell's frontier, against what varies."""

from sweeps.config.search import FrontierConfig
from sweeps.planning.outcomes import labels_of
from sweeps.planning.plan import main_axis
from sweeps.reports.figures import style
from sweeps.reports.figures.study import Study, leaf, value
from sweeps.search.summary import Boundary, boundaries

ETA, SIGMA_W2 = "train.eta", "model.sigma_w2"


def draw(study: Study) -> bytes:
    """Bars from what held to what failed, a series for each choice of the other keys.

    An arrow where the frontier lies beyond an end of the interval that was searched.
    """
    search = study.search
    if not isinstance(search, FrontierConfig):
        return style.png(style.panels(1, "Frontier")[0])
    figure, (axes,) = style.panels(1, f"Frontier of {search.key}: {search.condition}")
    found = [edge for edge in boundaries(search, study.lines) if edge.bracket]
    axis = main_axis([edge.cell for edge in found]) or ""
    labels, groups = labels_of(study.lines), dict[str, tuple[str, list[Boundary]]]()
    for edge in found:
        rest = {k: v for k, v in edge.cell.items() if k not in (axis, "seed")}
        name = labels(rest) if rest else _name(edge)
        groups.setdefault(repr(rest), (name, []))[1].append(edge)
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
        for edge in group:
            if edge.bracket and edge.bracket.ends is None:
                _beyond(axes, edge, _x(edge, axis), colour)
    _prediction(axes, study, search.key)
    style.log2_ticks(axes, [_x(edge, axis) for edge in found] if axis else [])
    axes.set(xlabel=leaf(axis) if axis else "", ylabel=search.key)
    if search.interval.scale == "log":
        style.log_y(axes)
    style.legend(axes)
    return style.png(figure)


def _beyond(axes: style.Axes, edge: Boundary, x: float, colour: str) -> None:
    """An arrow at the end of the interval: the condition held everywhere, or nowhere."""
    assert edge.bracket is not None
    held, failed = edge.bracket.held, edge.bracket.failed
    y, marker = (held, "^") if held is not None else (failed, "v")
    assert y is not None
    axes.plot([x], [y], color=colour, marker=marker, ls="none", ms=9, mfc="none")


def _x(edge: Boundary, axis: str) -> float:
    return float(edge.cell[axis]) if axis else 0.0


def _name(edge: Boundary) -> str:
    return str(value(edge.line, "model.activation"))


def _prediction(axes: style.Axes, study: Study, key: str) -> None:
    """The linearisation's limit of eta, where the unit of eta makes it 1."""
    units = {value(line, "train.eta_unit") for line in study.lines}
    if key == ETA and units == {"tangent"}:
        text = r"linearised: $\eta = 2/\lambda_{max}(H(0))$"
        axes.axhline(1, color=style.GREY, ls="--", lw=1, label=text)
