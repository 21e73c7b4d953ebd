"""Power laws of a search's frontiers."""

import numpy as np
import pytest
from test_search import Imagined

from sweeps.search.registry import summarize


@pytest.mark.parametrize(
    ("key", "stated"), [("seed=0,1", True), ("data.norm=0.5", False), ("data.bias=1", False)]
)
def test_theorem_2_is_stated_for_its_own_norm_only(key, stated):
    words = ["search=frontier", "model.width=tag(log,interval(8,4096))", "search.tolerance=0.1"]
    words += ["data.n=8,16,32", "data=sphere", key]
    words.append("search.condition='theory/lambda_0_over_m_lambda_star >= 0.5'")
    metric = "theory/lambda_0_over_m_lambda_star"
    search = Imagined(words, lambda keys: keys["model.width"] / (8 * keys["data.n"]), metric)
    lines = search.lines(search.launch())
    for line in lines:
        line.summary["theory/lambda_star"] = 4 / line.planned.varying["data.n"]
    (text,) = summarize(search.asked.launch.search, lines).remarks
    assert "model.width grows like data.n^" in text
    assert ("lambda_*" in text) == stated


def test_the_growth_of_a_frontier_is_fitted_beside_theorem_2s():
    """The imagined frontier is at 3 n^1.5, and lambda_* = 4 / n; fitted here by numpy."""
    samples = [8, 16, 32, 64]
    words = ["search=frontier", "model.width=tag(log,interval(8,4096))", "search.tolerance=0.01"]
    words += ["data.n=8,16,32,64", "seed=0,1", "model.activation=relu,tanh", "data=sphere"]
    words.append("search.condition='theory/lambda_0_over_m_lambda_star >= 0.5'")
    search = Imagined(
        words,
        lambda keys: keys["model.width"] / (6 * keys["data.n"] ** 1.5),
        "theory/lambda_0_over_m_lambda_star",
    )
    lines = search.lines(search.launch())
    for line in lines:
        line.summary["theory/lambda_star"] = 4 / line.planned.varying["data.n"]
    summary = summarize(search.asked.launch.search, lines)
    n = np.array(samples, dtype=float)
    theorem = np.polyfit(np.log(n), np.log((n * n / 4) ** 2 * np.log(n * n / 4)), 1)[0]
    assert len(summary.remarks) == 2
    for text, name in zip(summary.remarks, ("relu", "tanh"), strict=True):
        assert text.startswith(
            f"{name}: model.width grows like data.n^1.50 (standard error 0.00, 8 "
        )
        assert text.endswith(f"log(n / lambda_*), which grows here like data.n^{theorem:.2f}")
