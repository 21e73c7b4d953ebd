"""Step metrics: what is kept does not depend on how they come."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.storage.step_metrics import DENSE, STEP_METRICS, Clock, Thinning, is_kept

MEASURED = {metric.column for metric in STEP_METRICS}


def columns(first, last):
    """Rows of a trajectory in which the spectra are measured at every tenth step."""
    steps = range(first, last)
    values = {name: [math.exp(-0.01 * t) for t in steps] for name in MEASURED}
    sparse = {name: [1.0 + t if t % 10 == 0 else None for t in steps] for name in MEASURED}
    for name in ("grad_norm", "lambda_min_gram", "lambda_min_tangent", "norm_w"):
        values[name] = sparse[name]
    return values | {"step": [float(t) for t in steps]}


@pytest.mark.slow
@settings(deadline=None)
@given(st.integers(1, 3000), st.lists(st.integers(1, 3000), max_size=6))
def test_parts_and_the_whole_give_the_same_points(length, cuts):
    clock = Clock(1000, [(length, 90_000)])
    whole = Thinning().add(columns(0, length), clock, whole=True)
    edges = sorted({0, length, *(cut for cut in cuts if cut < length)})
    thinning, parts = Thinning(), []
    for first, last in itertools.pairwise(edges):
        parts += thinning.add(columns(first, last), clock)
    assert set(parts) <= set(whole)
    lasts = {(p.key, max(q.step for q in whole if q.key == p.key)) for p in whole}
    assert {(p.key, p.step) for p in set(whole) - set(parts)} <= lasts


@pytest.mark.parametrize(("length", "most"), [(64, 64), (501, 161), (10**6, 520)])
def test_a_few_hundred_points_are_kept(length, most):
    kept = [i for i in range(length) if is_kept(i)]
    assert kept[:DENSE] == list(range(min(length, DENSE)))
    assert len(kept) <= most
    assert len(kept) >= min(length, 64 + 32 * (length.bit_length() - 8))


def test_curves_leave_out_what_a_logarithmic_axis_cannot_show():
    table = {"step": [0.0, 1.0, 2.0], "loss": [1.0, 1e-310, None], "log_loss_bound": [0, -800, 9]}
    points = Thinning().add(table | {"lambda_min_gram": [4.0, 2.0, None]}, Clock(0), whole=True)
    assert [(p.key, p.step, p.value) for p in points if p.key.startswith("curve/")] == [
        ("curve/loss", 0, 1.0),
        ("curve/loss_bound", 0, 1.0),
        ("curve/loss_bound", 2, math.exp(9)),
        ("curve/lambda_ratio", 0, 1.0),
        ("curve/lambda_ratio", 1, 0.5),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 10**6)), min_size=1, max_size=20))
def test_a_clock_rises_and_keeps_its_earlier_times(moments):
    clock = Clock(5, [])
    before = {}
    for rows, at in moments:
        clock.add(rows, at)
        known = {row: clock.at(row) for row in range(clock.moments[-1][0])}
        assert all(known[row] == time for row, time in before.items())
        assert list(known.values()) == sorted(known.values())
        before = known
