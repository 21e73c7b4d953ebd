"""Means with intervals, and power laws, compared with closed forms and samples."""

import math
import random
import statistics

import mpmath
import numpy as np
import pytest

from deq.theory.statistics import excess_kurtosis, mean, power_law, proportion


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


def test_groups_have_scales_of_their_own():
    """Compare with a dense regression; one scale for groups at other x would bend the exponent."""
    rng = np.random.default_rng(3)
    x = [2.0, 4, 8, 16, 16, 32, 64, 128]
    groups = ["a"] * 4 + ["b"] * 4
    scales = {"a": 3.0, "b": 0.5}
    noise = np.exp(0.1 * rng.standard_normal(8))
    y = [scales[g] * u**-0.7 * e for g, u, e in zip(groups, x, noise, strict=True)]
    law = power_law(x, y, groups)
    design = np.array([[np.log(u), g == "a", g == "b"] for g, u in zip(groups, x, strict=True)])
    solution, rest, *_ = np.linalg.lstsq(design.astype(float), np.log(y))
    covariance = rest[0] / 5 * np.linalg.inv(design.T.astype(float) @ design.astype(float))
    assert law.freedom == 5
    assert law.exponent == pytest.approx(solution[0], rel=1e-12)
    assert law.stderr == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-12)
    assert law.scale == pytest.approx(np.exp((solution[1] + solution[2]) / 2), rel=1e-12)
    assert abs(power_law(x, y).exponent + 0.7) > 0.2
    assert power_law([2.0, 2, 4, 4], [1.0, 2, 3, 4], list("aabb")) is None


def test_the_margin_covers_as_often_as_three_deviations_of_a_normal_variable():
    """Three points: 99.73 %, where three standard errors cover 80 %."""
    generator = random.Random(2)
    hits = {"margin": 0, "errors": 0}
    for _ in range(2000):
        law = power_law([1.0, 2, 4], [math.exp(generator.gauss(0, 0.1)) for _ in range(3)])
        hits["margin"] += abs(law.exponent) <= law.margin
        hits["errors"] += abs(law.exponent) <= 3 * law.stderr
    assert hits["margin"] >= 1985
    assert abs(hits["errors"] / 2000 - 0.795) < 0.03
    assert power_law(range(1, 2000), [1 + k % 2 for k in range(1999)]).margin == pytest.approx(
        3 * power_law(range(1, 2000), [1 + k % 2 for k in range(1999)]).stderr, rel=0.01
    )


def test_too_few_points_give_no_power_law():
    assert power_law([1.0, 2.0], [1.0, 2.0]) is None
    assert power_law([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) is None
    assert power_law([1.0, 2.0, 3.0], [1.0, 0.0, 3.0]) is None


def test_the_excess_kurtosis_is_the_jackknife_of_its_definition():
    rng = np.random.default_rng(5)
    scales = rng.gamma(3, size=(40, 1))
    y = rng.normal(size=(40, 7)) * np.sqrt(scales)
    squares, fourths = (y**2).mean(axis=1), (y**4).mean(axis=1)

    def kurtosis(kept):
        return (y[kept] ** 4).mean() / (y[kept] ** 2).mean() ** 2 - 3

    everyone = np.arange(40)
    without = np.array([kurtosis(everyone != k) for k in everyone])
    excess = excess_kurtosis(squares.tolist(), fourths.tolist())
    assert excess.value == pytest.approx(40 * kurtosis(everyone) - 39 * without.mean())
    assert excess.stderr == pytest.approx(np.sqrt(39 * without.var()))
    assert excess.count == 40
    # A Gaussian of random variance s has 3 Var(s) / E[s]^2: here 3 / 3.
    many = rng.gamma(3, size=4000)
    outputs = rng.normal(size=(4000, 50)) * np.sqrt(many)[:, None]
    of_all = excess_kurtosis((outputs**2).mean(1).tolist(), (outputs**4).mean(1).tolist())
    assert abs(of_all.value - 1) < 4 * of_all.stderr < 0.5


@pytest.mark.parametrize("squares", [[], [1.0, 2.0], [0.0, 0.0, 0.0, 4.0]])
def test_too_few_networks_have_no_kurtosis(squares):
    assert excess_kurtosis(squares, [3.0 for _ in squares]) is None
