"""Statistics of repeated measurements: intervals, probabilities, power laws and kurtosis."""

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from scipy.special import betaincinv, stdtrit


@dataclass(frozen=True)
class Mean:
    """The mean of repeats.

    Attributes:
        value: the mean.
        deviation: the standard deviation of one repeat; None for a single repeat.
        half_width: half the width of the mean's confidence interval, Student's t; None for
            a single repeat.
        count: number of repeats.
    """

    value: float
    deviation: float | None
    half_width: float | None
    count: int


def mean(values: Sequence[float], *, level: float = 0.95) -> Mean:
    """Return mean, standard deviation and confidence interval of independent normal repeats.

    The interval is value +- t sqrt(s^2 / n), t the quantile (1 + level) / 2 of Student's
    distribution with n - 1 degrees of freedom.

    Args:
        values: one for each repeat.
        level: the interval's coverage.

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
class Proportion:
    """An estimated probability.

    Attributes:
        value: successes divided by trials.
        low, high: its confidence interval.
        count: number of trials.
    """

    value: float
    low: float
    high: float
    count: int


def proportion(successes: int, count: int, *, level: float = 0.95) -> Proportion:
    """Return the probability of success and its interval (Clopper and Pearson 1934).

    The interval covers the true probability at least as often as stated, also for few trials
    and at 0 or 1.

    Args:
        successes: number of independent trials that succeeded.
        count: number of trials.
        level: the interval's coverage.

    Raises:
        ValueError: there are no trials, or more successes than trials.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"there is no probability from {successes} successes in {count} trials")
    tail, failures = (1 - level) / 2, count - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Proportion(successes / count, low, high, count)


@dataclass(frozen=True)
class PowerLaw:
    """y = scale * x^exponent.

    Attributes:
        scale: with groups, the geometric mean of their scales.
        exponent: the common exponent.
        stderr: its standard error.
        freedom: degrees of freedom of that error.
    """

    scale: float
    exponent: float
    stderr: float
    freedom: int

    @property
    def margin(self) -> float:
        """Half the width of the exponent's 99.73 % interval: three standard errors of many points.

        Of few points it is more, by Student's t.
        """
        return _three_sigma(self.freedom) * self.stderr


def power_law(
    x: Sequence[float], y: Sequence[float], groups: Sequence[Hashable] | None = None
) -> PowerLaw | None:
    """Fit log y to log x by least squares, with one exponent and a scale for each group.

    Points that are not positive are left out. The standard error assumes independent errors
    of log y with one variance.

    Args:
        x: positive numbers.
        y: a positive number for each.
        groups: the group of each point; one group by default.

    Returns:
        None if no group has two x, or no point is left to estimate the error from.
    """
    names = groups or [None] * len(x)
    points: dict[Hashable, list[tuple[float, float]]] = {}
    for u, v, name in zip(x, y, names, strict=True):
        if u > 0 and v > 0:
            points.setdefault(name, []).append((math.log(u), math.log(v)))
    if all(len({u for u, _ in group}) < 2 for group in points.values()):
        return None
    means = [[statistics.fmean(c) for c in zip(*group, strict=True)] for group in points.values()]
    centred = [
        (u - mean_u, v - mean_v)
        for (mean_u, mean_v), group in zip(means, points.values(), strict=True)
        for u, v in group
    ]
    spread = math.fsum(u * u for u, _ in centred)
    freedom = len(centred) - len(points) - 1
    if freedom < 1:
        return None
    slope = math.fsum(u * v for u, v in centred) / spread
    rest = math.fsum((v - slope * u) ** 2 for u, v in centred)
    scale = statistics.fmean(mean_v - slope * mean_u for mean_u, mean_v in means)
    return PowerLaw(math.exp(scale), slope, math.sqrt(rest / freedom / spread), freedom)


def _three_sigma(freedom: int) -> float:
    """Student's quantile that bounds as much as three standard deviations of a normal variable."""
    return float(stdtrit(freedom, (1 + math.erf(3 / math.sqrt(2))) / 2))


@dataclass(frozen=True)
class Kurtosis:
    """An estimated excess kurtosis E[y^4] / E[y^2]^2 - 3, with its standard error."""

    value: float
    stderr: float
    count: int

    @property
    def margin(self) -> float:
        """Half the width of the 99.73 % interval, by Student's t; see `PowerLaw.margin`."""
        return _three_sigma(self.count - 1) * self.stderr


def excess_kurtosis(squares: Sequence[float], fourths: Sequence[float]) -> Kurtosis | None:
    """Return the excess kurtosis of a centred variable from independent repeats; by jackknife.

    Args:
        squares: for each repeat a value of mean E[y^2], such as its mean of y^2 over samples.
        fourths: for each repeat a value of mean E[y^4].

    Returns:
        None for fewer than three repeats, or if without one of them E[y^2] is 0.
    """
    n, two, four = len(squares), math.fsum(squares), math.fsum(fourths)
    if n < 3:
        return None
    both = zip(squares, fourths, strict=True)
    pairs = [((two - square) / (n - 1), (four - fourth) / (n - 1)) for square, fourth in both]
    if min(square for square, _ in pairs) <= 0:
        return None
    without = [fourth / square**2 - 3 for square, fourth in pairs]
    whole, centre = n * four / two**2 - 3, statistics.fmean(without)
    spread = math.fsum((value - centre) ** 2 for value in without)
    return Kurtosis(n * whole - (n - 1) * centre, math.sqrt((n - 1) / n * spread), n)
