"""The MLflow view that a sweep's link opens: its charts, its columns, MLflow's keys."""

import json
import re
from pathlib import Path

import mlflow
import pytest
from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

import sweeps
from sweeps.config.nested import flatten
from sweeps.metrics import COLUMNS, SUMMARY
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.step_metrics import CURVES
from sweeps.tracking.charts import ALL, CLOSED, MANY, trials_view

FRONT_END = Path(mlflow.__file__).parent / "server/js/build/static/js"


def view(*words):
    return trials_view("abc", sweeps.plan(list(words)).trials)


def charts(state, kind):
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


def axes(chart):
    return [(chart[axis]["key"], chart[axis]["type"]) for axis in ("xaxis", "yaxis")]


@pytest.fixture(scope="module")
def front_end():
    return "".join(path.read_text() for path in sorted(FRONT_END.glob("*.js")))


def arrays_with(text, *words):
    """Arrays of strings in the front end's code that contain all of these strings."""
    arrays = [set(re.findall(r"\w+", match)) for match in re.findall(r'\["\w+"(?:,"\w+")+\]', text)]
    return [array for array in arrays if array >= set(words)]


@pytest.mark.slow
def test_mlflows_front_end_reads_every_key_of_the_view(front_end):
    """It ignores unknown keys: after an upgrade, charts would vanish silently."""
    state = view("model.width=8,16", "model.activation=relu,tanh")
    taken = arrays_with(front_end, "selectedColumns", "compareRunCharts")
    facets = arrays_with(front_end, "searchFilter", "orderByKey")
    assert set(state) <= set.union(*taken, *facets)
    # Of these a shared view's are not taken.
    (dropped,) = [a for a in arrays_with(front_end, "runsExpanded", "runsPinned") if a not in taken]
    assert not set(state) & dropped
    for chart in state["compareRunCharts"]:
        for key in chart:
            assert re.search(rf"this\.{key}=", front_end), key
    for key in {key for section in state["compareRunSections"] for key in section}:
        assert re.search(rf"\b{key}:", front_end), key
    for text in ("viewStateShareKey", "mlflow.sharedViewState.", "compareRunsMode", "CHART"):
        assert f'"{text}"' in front_end or f"{text}:" in front_end, text
    for value in (
        "SHOW_ALL",
        "FIRST_20_RUNS",
        "LINE",
        "SCATTER",
        "PARALLEL",
        "METRIC",
        "PARAM",
        "log",
        "linear",
    ):
        assert f'"{value}"' in front_end, value


def test_a_sweeps_charts_are_losses_rates_and_spectra():
    state = view("model.width=8,16", "model.activation=relu,tanh", "seed=0,1")
    lines = {chart["metricKey"]: chart["scaleType"] for chart in charts(state, "LINE")}
    assert lines == {
        "curve/loss": "log",
        "curve/loss_linearized": "log",
        "curve/loss_bound": "log",
        "curve/lambda_ratio": "linear",
        "spectrum/norm_w": "linear",
    }
    rate, ratio = (axes(chart) for chart in charts(state, "SCATTER"))
    assert rate == [("rate/linearized", "METRIC"), ("rate/measured", "METRIC")]
    assert ratio == [("model.width", "PARAM"), ("rate/measured_over_linearized", "METRIC")]
    (parallel,) = charts(state, "PARALLEL")
    assert parallel["selectedParams"] == ["model.width", "model.activation"]
    assert parallel["selectedMetrics"] == ["rate/measured_over_linearized"]
    assert state["runsHiddenMode"] == "SHOW_ALL"


@pytest.mark.parametrize(
    ("words", "axis", "params"),
    [
        (["seed=0,1"], "seed", ["seed"]),
        (["model.activation=relu,tanh", "seed=0,1,2"], "model.activation", ["model.activation"]),
        (
            ["model.activation=relu,tanh", "train.steps=5,6,7"],
            "train.steps",
            ["model.activation", "train.steps"],
        ),
        (["data=digits,sphere"], "data.name", ["data.name"]),
    ],
)
def test_the_ratio_is_drawn_against_the_axis_with_the_most_values(words, axis, params):
    state = view(*words)
    assert axes(charts(state, "SCATTER")[1])[0] == (axis, "PARAM")
    assert [chart["selectedParams"] for chart in charts(state, "PARALLEL")] == [params]


def test_a_single_trial_has_no_charts_against_an_axis():
    state = view()
    assert [axes(chart)[0][0] for chart in charts(state, "SCATTER")] == ["rate/linearized"]
    assert charts(state, "PARALLEL") == []


def test_every_chart_lies_in_an_open_section_and_other_metrics_in_closed_ones():
    state = view("model.width=8,16")
    shown = {s["uuid"]: s["display"] for s in state["compareRunSections"]}
    assert all(shown[chart["metricSectionId"]] for chart in state["compareRunCharts"])
    ids = [chart["uuid"] for chart in state["compareRunCharts"]]
    assert len(ids) == len(set(ids))
    names = [m.name for m in SUMMARY] + [c.metric for c in COLUMNS if c.metric]
    assert {name.partition("/")[0] for name in names} == set(CLOSED) - {"System metrics"}
    drawn = {chart["metricKey"] for chart in charts(state, "LINE")}
    # Otherwise MLflow would open a section for them, after the closed ones.
    assert {curve.key for curve in CURVES} <= drawn


def planned(count, seeds):
    return [
        PlannedTrial(
            f"{i}", "", f"n={i}", {"model.width": i, **({"seed": i % 5} if seeds else {})}, {}
        )
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "seeds", "key"),
    [
        (ALL, True, "tags.`mlflow.runName`"),
        (ALL + 1, True, "params.`seed`"),
        (ALL + 1, False, "tags.`mlflow.runName`"),
        (MANY + 1, True, "attributes.run_name"),
    ],
)
def test_with_many_trials_one_of_each_seed_group_comes_first(count, seeds, key):
    assert trials_view("abc", planned(count, seeds))["orderByKey"] == key


def test_few_trials_are_all_shown_and_only_the_first_of_many():
    shown = [trials_view("abc", planned(n, True))["runsHiddenMode"] for n in (ALL, ALL + 1)]
    assert shown == ["SHOW_ALL", "FIRST_20_RUNS"]


def test_the_view_fits_into_mlflows_tag_even_when_everything_varies():
    (trial,) = sweeps.plan([]).trials
    varying = dict.fromkeys(flatten(trial.plain), 1)
    many = [PlannedTrial("", "", "x" * 300, varying, trial.plain)]
    text = json.dumps(trials_view("a" * 64, many), separators=(",", ":"))
    assert len(text) <= MAX_EXPERIMENT_TAG_VAL_LENGTH
