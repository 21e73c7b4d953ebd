"""Statistics of repeated measurements: intervals, probabilities, power laws and kurtosis."""

import math
import statistics
from collections.abc import Sequence
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
    """y = scale * x^exponent, with the exponent's standard error."""

    scale: float
    exponent: float
    stderr: float


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """Fit log y to log x by least squares; None for fewer than three points or two x.

    Points that are not positive are left out. The standard error assumes independent errors
    of log y with one variance.
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


@dataclass(frozen=True)
class Kurtosis:
    """An estimated excess kurtosis E[y^4] / E[y^2]^2 - 3, with its standard error."""

    value: float
    stderr: float
    count: int


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
