"""Statistics of repeats: intervals of means, and exponents of power laws."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Mean:
    """The mean of repeats.

    Attributes:
        value: the mean.
        deviation: the standard deviation of one repeat; None of a single one.
        half_width: half the confidence interval of the mean, Student's t; None of a
            single one.
        count: how many repeats.
    """

    value: float
    deviation: float | None
    half_width: float | None
    count: int


def mean(values: Sequence[float], *, level: float = 0.95) -> Mean:
    """Mean, standard deviation and confidence interval of independent normal repeats.

    The interval is value +- t sqrt(s^2 / n), t the quantile (1 + level) / 2 of Student's
    distribution with n - 1 degrees of freedom.

    Raises:
        ValueError: there are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("there is no mean of no values")
    centre = statistics.fmean(values)
    if n == 1:
        return Mean(centre, None, None, 1)
    deviation = statistics.stdev(values)
    quantile = float(stdtrit(n - 1, (1 + level) / 2))
    return Mean(centre, deviation, quantile * deviation / math.sqrt(n), n)


@dataclass(frozen=True)
class PowerLaw:
    """y = scale * x^exponent, with the exponent's standard error."""

    scale: float
    exponent: float
    stderr: float


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """Least squares of log y on log x; None for fewer than three points or two x.

    The standard error presumes independent errors of log y, all of one variance.
    """
    points = [(math.log(u), math.log(v)) for u, v in zip(x, y, strict=True) if u > 0 and v > 0]
    if len(points) < 3 or len({u for u, _ in points}) < 2:
        return None
    us, vs = zip(*points, strict=True)
    slope, intercept = statistics.linear_regression(us, vs)
    centre = statistics.fmean(us)
    spread = math.fsum((u - centre) ** 2 for u in us)
    rest = math.fsum((v - intercept - slope * u) ** 2 for u, v in points)
    return PowerLaw(math.exp(intercept), slope, math.sqrt(rest / (len(points) - 2) / spread))
