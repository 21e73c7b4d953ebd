"""Power law of the frontiers of a search against the main axis, beside Theorem 2's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import deq
from sweeps.config.nested import flatten
from sweeps.config.search import FrontierConfig
from sweeps.planning.groups import grouped
from sweeps.planning.labels import Labels
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import main_axis
from sweeps.search.bisection import Bracket

WIDTH, SAMPLES, STAR = "model.width", "data.n", "theory/lambda_star"
NORM, BIAS = "data.norm", "data.bias"
# Metric of a frontier in the width that Theorem 2 is about.
RATIO = "theory/lambda_0_over_m_lambda_star"


@dataclass(frozen=True)
class Growth:
    """Growth of the frontiers of one series of cells, which differ in the main axis and the seed.

    Attributes:
        name: of the series; empty if there is only one.
        axis: key of the main axis.
        law: frontier ~ axis^exponent, fitted to the middles of the brackets.
        ends: least and greatest value of the axis.
        count: number of brackets.
        theorem: fit of n^2 / lambda_*^2 log(n / lambda_*), Theorem 2's width, on the same data;
            None where the frontier is another one.
    """

    name: str
    axis: str
    law: "deq.PowerLaw"
    ends: tuple[float, float]
    count: int
    theorem: "deq.PowerLaw | None"

    def sentence(self, key: str) -> str:
        """The exponents in words."""
        where = f"{self.name}: " if self.name else ""
        text = (
            f"{where}{key} grows like {self.axis}^{self.law.exponent:.2f} "
            f"(standard error {self.law.stderr:.2f}, {self.count} frontiers)"
        )
        if self.theorem is None:
            return text
        return (
            f"{text}; Theorem 2 asks for n^2 / lambda_*^2 log(n / lambda_*), which grows here like "
            f"{self.axis}^{self.theorem.exponent:.2f}"
        )


def growths(
    config: FrontierConfig, cells: Sequence[tuple[dict[str, Any], Bracket | None, TrialOutcome]]
) -> list[Growth]:
    """Power law of each series of cells, in a search on a logarithmic scale.

    None for series with fewer than three values of the axis.

    Args:
        config: the search.
        cells: values of the grid's axes, the bracket, and a trial of each cell.
    """
    axis = main_axis([values for values, _, _ in cells])
    if axis is None or config.interval.scale != "log":
        return []
    series = grouped(
        cells, lambda cell: {k: v for k, v in cell[0].items() if k not in (axis, "seed")}
    )
    labels = Labels(key for rest, _ in series for key in rest)
    fitted = []
    for rest, of_series in series:
        points = [
            (float(values[axis]), math.sqrt(math.prod(bracket.ends)), outcome)
            for values, bracket, outcome in of_series
            if bracket and bracket.ends and bracket.ends[0] > 0
        ]
        fitted.append(_growth(config, axis, labels(rest) if rest else "", points))
    return [growth for growth in fitted if growth]


def _growth(
    config: FrontierConfig, axis: str, name: str, points: list[tuple[float, float, TrialOutcome]]
) -> Growth | None:
    xs = [x for x, _, _ in points]
    law = deq.power_law(xs, [y for _, y, _ in points])
    if law is None or len(set(xs)) < 3:
        return None
    theorem = None
    if (config.key, axis) == (WIDTH, SAMPLES) and RATIO in config.condition:
        widths = _theorem([x for _, _, x in points])
        theorem = deq.power_law(*zip(*widths, strict=True)) if widths else None
    return Growth(name, axis, law, (min(xs), max(xs)), len(points), theorem)


def _theorem(outcomes: Sequence[TrialOutcome]) -> list[tuple[float, float]]:
    """(n, Theorem 2's width) of the trials; lambda_* does not depend on the width.

    The theorem is for inputs of norm sqrt(d): trials with others are left out.
    """
    configs = [(flatten(outcome.planned.plain), outcome.summary) for outcome in outcomes]
    return [
        (float(plain[SAMPLES]), deq.sufficient_width(int(plain[SAMPLES]), summary[STAR]))
        for plain, summary in configs
        if STAR in summary and plain.get(NORM, 1) == 1 and not plain.get(BIAS)
    ]
