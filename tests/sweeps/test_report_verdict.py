"""The verdict of a report: its numbers, recomputed from the frame of the sweep."""

import html
import re

import pytest
from command import SMALL, inside
from test_report import LINES, line, rate

import sweeps
from sweeps.reports.spread import of_seeds, spread
from sweeps.reports.verdict import verdict

pytestmark = pytest.mark.slow

LAMBDAS = "lambda_0 against m lambda_*"
RATIO = "rate/measured_over_linearized"


def point(verdict, question):
    return dict(verdict.points)[question]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(frame of a sweep, text of its report)."""
    where = tmp_path_factory.mktemp("verdict")
    axes = ["model.width=8,16,32", "model.activation=relu,tanh", "seed=0,1"]
    assert inside("run", *SMALL, *axes, "cluster=inline", cwd=where).returncode == 0
    (folder,) = (where / "outputs" / "sweeps").iterdir()
    text = re.sub(r"<[^>]+>", " ", (folder / "report.html").read_text().partition("<h2>Charts")[0])
    return sweeps.load(folder.name, output=where / "outputs"), html.unescape(text)


def test_the_numbers_match_the_frame(swept):
    frame, text = swept
    ratio, over = frame[RATIO], frame["rate/measured_over_bound"]
    low, high = ratio.quantile([0.25, 0.75])
    assert (
        f"median {ratio.median():.3g} over {len(ratio)} trials, half of them between {low:.3g} "
        f"and {high:.3g}, all between {ratio.min():.3g} and {ratio.max():.3g}"
    ) in text
    assert f"{ratio.median():.3g} times the linearised prediction" in text
    assert f"{over.median():.3g} times the theorem's bound" in text
    by_width = frame.groupby("model.width")[RATIO].median()
    assert ", ".join(f"{v:.3g} at {width}" for width, v in by_width.items()) in text


def test_the_conditions_and_lambdas_match_the_frame(swept):
    frame, text = swept
    words = " ".join(text.split())
    for number in ("7", "8", "9", "10"):
        slack = frame[f"theory/slack_{number}"].dropna()  # (10) is absent where lambda_0 is 0
        held = (slack >= 1).sum()
        assert f"({number}) {held} of {len(slack)} {slack.min():.3g} to {slack.max():.3g}" in words
    holds = frame["theory/condition_held"].sum()
    assert f"hold in {holds:g} of {len(frame)} trials" in words
    assert f"only where conditions (7) to (10) hold: in {holds:g} of {len(frame)} trials" in words
    enough = frame["theory/lambda_0_over_m"] >= frame["theory/lambda_star"] / 2
    groups = enough.groupby(frame["cell_hash"]).all()
    assert f"in {groups.sum()} of {len(groups)} groups of seeds" in words


def test_few_values_are_listed():
    lines = [line(8, seed=i, **rate(0.1), **{RATIO: 0.5 + i / 10}) for i in range(3)]
    answer = point(verdict(lines), "Measured against linearised")
    assert answer == "Measured / linearised rate: 0.5, 0.6 and 0.7 in the 3 trials."
    answer = point(verdict(lines[:1]), "Measured against linearised")
    assert answer == "Measured / linearised rate: 0.5 in the one trial."


def test_ratios_exclude_linearised_models_that_do_not_converge():
    lines = [line(8, **rate(0.1), **{RATIO: 0.9})]
    lines += [line(16, **rate(0.1) | {"rate/linearized": v, RATIO: 0.1 / v}) for v in (1e-17, -2.0)]
    answer = point(verdict(lines), "Measured against linearised")
    assert answer.startswith("Measured / linearised rate: 0.9 in the one trial. In 2 more")


def test_the_groups_in_which_a_condition_held_are_named():
    def slack(width, seed, value):
        held = {"theory/slack_7": value, "theory/condition_held": float(value >= 1)}
        return line(width, seed=seed, **rate(0.1), **held)

    lines = [slack(8, 0, 0.5), slack(8, 1, 0.9), slack(16, 0, 0.9), slack(16, 1, 1.0)]
    result = verdict([*lines, slack(32, 0, 7.0)])
    seven, all_four = result.conditions
    assert (seven.held, seven.slack) == ("2 of 5", "0.5 to 7")
    assert seven.where == "width=16 relu (1 of 2 trials) and width=32 relu"
    assert all_four.where == seven.where
    assert (
        "hold in 2 of 5 trials: the bound is guaranteed there and nowhere else" in result.headline
    )
    assert [row.where for row in verdict(lines[:2]).conditions] == ["nowhere", "nowhere"]
    assert [row.where for row in verdict([slack(8, 0, 2.0)]).conditions] == ["everywhere"] * 2


def test_a_group_counts_only_if_every_seed_is_above_half_of_lambda_star():
    def lambdas(width, seed, value):
        numbers = {"theory/lambda_0_over_m": value, "theory/lambda_star": 0.2}
        return line(width, seed=seed, **rate(0.1), **numbers)

    lines = [lambdas(8, 0, 0.1), lambdas(8, 1, 0.05), lambdas(16, 0, 0.1), lambdas(32, 0, 0.01)]
    assert point(verdict(lines), LAMBDAS) == (
        "lambda_0 >= m lambda_* / 2 in 1 of 3 groups of seeds; not in "
        "width=8 relu (only 1 of 2 trials) and width=32 relu. "
        "Seeds in which it holds: width=8 relu: 1 of 2."
    )
    # A probability has an interval from five seeds on.
    lines += [lambdas(8, seed, 0.1) for seed in (2, 3, 4)] + [lambdas(16, 1, 0.1)]
    assert point(verdict(lines), LAMBDAS).endswith(
        " Seeds in which it holds: width=8 relu: 4 of 5 (probability 0.284 to 0.995, 95 %); "
        "width=16 relu: 2 of 2."
    )


def test_equal_values_and_absent_values_are_not_a_range():
    same = {RATIO: 1.0, "theory/slack_7": 2.0, "theory/condition_held": 1.0}
    lines = [line(8, seed=i, **rate(0.1), **same, **{"theory/bound_held": 1.0}) for i in range(8)]
    result = verdict(lines)
    answer = point(result, "Measured against linearised")
    assert answer == "Measured / linearised rate: 1 in all 8 trials."
    assert result.conditions[0].slack == "2"
    assert of_seeds([1.0, 1.0, 1.0, 1.0, 1.0 + 1e-9]) == ["1", "the same in all 5"]
    assert spread([1, 2, 2, 2, 2, 2, 9]) == (
        "median 2 over 7 trials, half of them at 2, all between 1 and 9"
    )
    assert "in 1 of 1 trial." in point(verdict(lines[:1]), "Against the bound")
    killed = verdict([line(8, status="stopped by a person")])
    assert point(killed, "Against the bound") == "No trial has a bound."
    assert "0 of 0" not in str(killed)


@pytest.mark.parametrize("lines", [[], [line(8, status="diverged")]], ids=["none", "no rate"])
def test_a_sweep_without_rates_says_so(lines):
    assert verdict(lines).headline == "No trial has a measured rate."


def test_the_rate_of_a_trial_stopped_early_is_ignored():
    stopped = line(16, status="stopped", **rate(9.0), **{RATIO: 9.0, "train/stopped_at": 3.0})
    result = verdict([line(8, **rate(0.1), **{RATIO: 0.9}), stopped])
    assert "0.9 in the one trial" in point(result, "Measured against linearised")


def test_missing_metrics_are_no_error():
    assert verdict(LINES).headline


def test_converged_trials_have_their_rate_at_the_end():
    ratio = "rate/measured_end_over_asymptotic"
    moved = {"theory/kernel_drift": 0.01, "train/distance_relative": 0.02}
    lines = [line(8, **rate(0.1), **{ratio: 5.0})]
    assert "At convergence" not in dict(verdict(lines).points)
    lines += [line(16, status="converged", **rate(0.1), **{ratio: 1.01}, **moved)]
    assert point(verdict(lines), "At convergence") == (
        "1 of 2 trials reached train.loss_tol. The linearised model loses its slowest mode at "
        "the rate -2 log(1 - eta lambda_min(H)), where H is the tangent kernel at the end. "
        "Measured rate at the end divided by that rate: 1.01 in the one trial. "
        "Change from step 0 to the last step T: ||H(T) - H(0)||_F / ||H(0)||_F = 0.01; "
        "||theta(T) - theta(0)|| / ||theta(0)|| = 0.02."
    )
