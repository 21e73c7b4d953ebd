"""Descriptions of MLflow's pages: the verdict in words, the tables of rates and checks."""

import pytest
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from sweeps import metrics
from sweeps.metrics.shown import HEADINGS
from sweeps.planning.outcomes import FAILED, TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.reports.figures import rates
from sweeps.reports.figures import trial as trial_figure
from sweeps.search.base import SearchSummary
from sweeps.storage.record import Record, Trajectory
from sweeps.tracking.markdown import table
from sweeps.tracking.sweep_description import describe
from sweeps.tracking.trial_description import describe_trial, verdict

SLACKS = {f"theory/slack_{k}": 0.5 for k in (7, 8, 9, 10)}
SUMMARY = SLACKS | {
    "rate/measured": 0.0123,
    "rate/measured_stderr": 0.0004,
    "rate/linearized": 0.0128125,
    "rate/population": 0.011,
    "rate/bound": 0.0123 / 310,
    "theory/bound_held": 1.0,
    "theory/bound_violation": -0.7,
    "theory/lambda_held": 0.0,
    "theory/lambda_ratio_min": 0.41,
    "theory/well_posed_held": 1.0,
    "theory/condition_held": 0.0,
}
LINKS = {"trials": "http://charts", "table": "http://table", "sweep": "http://sweep"}


def plain(text):
    """A description without the spaces that MLflow's tables need."""
    return text.replace("&emsp;", "").replace("&#124;", "|")


def record(summary=SUMMARY, status="budget", notes=None, loss=(1.0, 0.5), environment=None):
    return Record(
        config_hash="c" * 64,
        cell_hash="d" * 64,
        config={},
        status=status,
        reason="all 30 steps were used",
        summary=summary,
        notes=notes or {},
        device="cpu",
        started=0,
        finished=1,
        environment=environment or {},
        trajectory=Trajectory.of({"step": [0.0, 1.0][: len(loss)], "loss": list(loss)}),
    )


def with_(**changes):
    changed = {key.replace("__", "/"): value for key, value in changes.items()}
    return {key: v for key, v in (SUMMARY | changed).items() if v is not None}


def test_a_trials_description_begins_with_the_verdict():
    text = describe_trial(record())
    assert text.startswith(
        "Measured 0.0123 nats a step, 4 % below the linearised prediction and 310 times the "
        "bound. None of conditions (7) to (10) holds, so the bound is not guaranteed here.\n"
    )


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (with_(rate__linearized=0.01), "23 % above the linearised prediction"),
        (with_(rate__linearized=0.001), "12.3 times the linearised prediction"),
        (with_(rate__linearized=1e-12), "where the linearised model does not converge"),
        (with_(rate__linearized=-0.001), "where the linearised model does not converge"),
        (with_(rate__linearized=None, rate__bound=None), "Measured 0.0123 nats a step."),
        (with_(rate__bound=0.005), "and 2.46 times the bound."),
        (with_(rate__bound=0.0), "4 % below the linearised prediction."),
        (with_(theory__slack_7=1.0, theory__slack_8=2.0), "Conditions (9) and (10) do not hold"),
        (with_(**{f"theory__slack_{k}": 1.1 for k in (7, 8, 10)}), "Condition (9) does not hold"),
        (
            with_(**{f"theory__slack_{k}": 1.0 for k in (7, 8, 9, 10)}),
            "Condition (10) does not hold",  # it is strict
        ),
        (
            with_(theory__slack_10=1.0001, **{f"theory__slack_{k}": 1.0 for k in (7, 8, 9)}),
            "Conditions (7) to (10) hold, so the bound is guaranteed.",
        ),
        (with_(theory__bound_held=0.0), "bound. The loss exceeded the bound. None of"),
    ],
)
def test_the_verdict_compares_the_measured_rate(summary, text):
    assert text in verdict(record(summary))


def test_no_name_of_the_bound_calls_it_guaranteed_without_its_conditions():
    """Metrics, headings of tables, and legends of figures."""
    meanings = [metric.meaning for metric in metrics.SUMMARY]
    shown = list(HEADINGS.values())
    shown += [text for _, text, *_ in (*rates.KINDS, *rates.PREDICTED)]
    shown += [text for *_, text in trial_figure.PREDICTED]
    for text in [*meanings, *shown]:
        if "guarant" in text or (text in shown and text.startswith("bound")):
            assert "condition_held" in text or "(7)" in text, text


def test_the_verdict_claims_no_guarantee_if_a_condition_is_unknown():
    unknown = {key: v for key, v in SUMMARY.items() if "slack" not in key}
    assert "guaranteed" not in verdict(record(unknown))
    assert "guaranteed." not in verdict(record(unknown | {"theory/slack_7": 2.0}))


def test_a_trials_tables_hold_its_rates_and_its_checks():
    text = plain(describe_trial(record(environment={"resumed_at": [20]})))
    for row in (
        "| guaranteed where (7) to (10) hold: the bound | 3.968e-05 | 310 |",
        "| predicted, linearised at t = 0 | 0.01281 | 0.96 |",
        "| **measured** | **0.0123** ± 0.0004 |  |",
        "| condition (9): slack, holds at 1 and above | 0.5 | **no** |",
        "least lambda_t / lambda_0 | 0.41 | **no** |",
        "at every measured step | - | yes |",
        "Ended as **budget**: all 30 steps were used. Interrupted, it went on from step 20.",
    ):
        assert row in text
    assert "theory_vs_measurement.png" in text


def test_a_trial_without_numbers_has_a_reason_and_no_empty_table():
    notes = {"theory": "it ended at step 0", "rate": "it ended at step 0"}
    text = describe_trial(record({}, "ill_posed", notes, loss=()))
    assert text.startswith("No measured rate: it ended at step 0.\n")
    assert "- no `theory`: it ended at step 0" in text
    assert "|---" not in text
    assert ".png" not in text


def test_a_remark_on_a_number_that_is_there_does_not_call_it_absent():
    notes = {"rate/measured": "it is of few steps"}
    text = describe_trial(record(notes=notes))
    assert "- `rate/measured`: it is of few steps" in text


def line(width, seed, ratio, status="budget", **changes):
    digest = f"{width}{seed}"
    varying = {"model.width": width, "seed": seed}
    trial = PlannedTrial(digest, f"{width}", f"width={width} seed={seed}", varying, {})
    summary = with_(
        rate__linearized=0.0123 / ratio,
        rate__measured_over_linearized=ratio,
        rate__measured_over_bound=310.0,
        **changes,
    )
    return TrialOutcome(trial, status, {} if status == FAILED else summary)


def test_a_sweeps_description_begins_with_the_verdict():
    lines = [line(8, 0, 0.8), line(8, 1, 0.9), line(16, 0, 0.96, theory__condition_held=1.0)]
    text = plain(describe("sweeps run", lines, LINKS))
    assert text.startswith(
        "In the median the measured rate is 0.9 times the linearised prediction and 310 times "
        "the theorem's bound. Conditions (7) to (10), all four, hold in 1 of 3 trials: "
        "the bound is guaranteed there and nowhere else.\n"
    )
    assert "[Charts of them](http://charts), [table of them](http://table)." in text
    assert "| width=8 | 2 | 0.0123 (0.0123, 0.0123) | 0.85 (0.8, 0.9) | 310 (310, 310) |" in text
    assert "| width=16 | 1 | 0.0123 | 0.96 | 310 |" in text
    assert "- With the width: Median measured / linearised rate: 0.85 at 8, 0.96 at 16." in text
    assert "- `model.width`: 8, 16" in text


def test_a_sweeps_description_names_what_needs_attention_after_the_verdict():
    odd = [line(8, 0, 0.8, FAILED), line(8, 1, 0.8, rate__measured=None)]
    text = describe("sweeps run", odd, LINKS)
    assert "| width=8 | 1 of 2 | - | " in plain(text)
    assert text.startswith("No trial has a measured rate.\n\n**Needs attention**: ")
    assert "1 trial without a measured rate" in text.split("\n\n")[1]
    fine = line(8, 0, 0.8, theory__lambda_ratio_min=0.9)
    assert "Needs attention" not in describe("sweeps run", [fine], LINKS)


def test_a_searchs_findings_follow_the_verdict():
    summary = SearchSummary("Best so far", ["cell", "at"], [["all", "train.eta=1"]])
    text = plain(describe("sweeps run", [line(8, 0, 0.8)], LINKS, summary))
    assert "**Best so far**\n\n| cell | at |\n|:---|:---|\n| all | train.eta=1 |\n" in text
    assert text.index("Best so far") < text.index("Means over seeds")


def test_a_long_table_is_cut_with_a_note():
    lines = [line(i, 0, 0.8) for i in range(130)]
    summary = SearchSummary("Best", ["cell", "at"], [["x" * 70, "y"]] * 100)
    text = describe("sweeps run", lines, LINKS, summary)
    assert len(text) < MAX_TAG_VAL_LENGTH
    shown = text.count("| width=")
    assert 10 < shown < 130
    assert f"The first {shown} of 130: all are in `report.html`." in text
    assert f"The first {text.count('| x')} of 100" in text
    few = describe("sweeps run", lines[:10], LINKS)
    assert few.count("| width=") == 10
    assert "The first" not in few


def test_text_in_a_description_is_escaped():
    """Without it, MLflow sets everything between two `lambda_*` in italics."""
    notes = {"theory/slack": "L ||W(0)||_2 >= 1, <b> of lambda_* and lambda_*"}
    text = describe_trial(record(notes=notes))
    assert r"L ||W(0)||\_2 >= 1, \<b> of lambda\_\* and lambda\_\*" in text
    assert table(["a"], [["||W||"]]).endswith("| &#124;&#124;W&#124;&#124;&emsp; |")
