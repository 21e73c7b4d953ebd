"""Means with intervals, and power laws, compared with closed forms and samples."""

import math
import random
import statistics

import mpmath
import pytest

from deq.theory.statistics import mean, power_law, proportion


def test_the_interval_has_its_stated_coverage():
    """4000 samples of five: 95 % to within four binomial standard errors (1.4 %)."""
    generator = random.Random(0)
    hits = 0
    for _ in range(4000):
        result = mean([generator.gauss(3.0, 2.0) for _ in range(5)])
        hits += abs(result.value - 3.0) <= result.half_width
    assert abs(hits / 4000 - 0.95) < 0.014


def test_students_quantiles_equal_published_tables():
    """t(0.975) is 12.706 for one degree of freedom, 2.776 for four."""
    for values, quantile in (([1.0, 2.0], 12.7062), ([1.0, 2.0, 3.0, 4.0, 5.0], 2.77645)):
        result = mean(values)
        assert result.value == statistics.fmean(values)
        assert result.deviation == statistics.stdev(values)
        half = quantile * result.deviation / math.sqrt(len(values))
        assert result.half_width == pytest.approx(half, rel=1e-5)


def test_one_value_has_no_interval_and_no_values_have_no_mean():
    assert mean([2.0]).deviation is None
    assert mean([2.0]).half_width is None
    with pytest.raises(ValueError, match="no values"):
        mean([])


@pytest.mark.parametrize(("successes", "count"), [(0, 6), (3, 11), (9, 10), (7, 7), (1, 1)])
def test_the_interval_of_a_probability_against_the_binomial_distribution(successes, count):
    """At its ends the observation or a more extreme one has probability 2.5 %, by mpmath."""

    def at_least(k, p):
        terms = range(k, count + 1)
        return sum(mpmath.binomial(count, j) * p**j * (1 - p) ** (count - j) for j in terms)

    result = proportion(successes, count)
    assert (result.value, result.count) == (successes / count, count)
    low, high = mpmath.mpf(result.low), mpmath.mpf(result.high)
    if successes:
        assert float(at_least(successes, low)) == pytest.approx(0.025, rel=1e-9)
    else:
        assert low == 0
    if successes < count:
        assert float(1 - at_least(successes + 1, high)) == pytest.approx(0.025, rel=1e-9)
    else:
        assert high == 1


def test_no_trials_have_no_probability():
    for successes, count in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no probability"):
            proportion(successes, count)


def test_a_power_law_is_found_with_an_error_that_covers():
    """1000 noisy laws: within two standard errors as often as t with six degrees says (91 %)."""
    generator = random.Random(1)
    x, hits = [2.0**k for k in range(8)], 0
    for _ in range(1000):
        result = power_law(x, [3 * u**-0.5 * math.exp(generator.gauss(0, 0.1)) for u in x])
        hits += abs(result.exponent + 0.5) <= 2 * result.stderr
    assert abs(hits / 1000 - 0.908) < 0.04
    exact = power_law(x, [3 * u**-0.5 for u in x])
    assert exact.exponent == pytest.approx(-0.5, abs=1e-12)
    assert exact.scale == pytest.approx(3, rel=1e-12)
    assert exact.stderr == pytest.approx(0, abs=1e-12)


def test_too_few_points_give_no_power_law():
    assert power_law([1.0, 2.0], [1.0, 2.0]) is None
    assert power_law([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) is None
    assert power_law([1.0, 2.0, 3.0], [1.0, 0.0, 3.0]) is None
