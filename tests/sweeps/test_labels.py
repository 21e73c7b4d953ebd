"""Names of trials and cells, and means over seeds: told apart by hash, never by a name."""

import re

import pytest
from command import client, inside, runs
from hypothesis import given
from hypothesis import strategies as st
from test_report import line, rate

import sweeps
from sweeps.config.launch import TrackingConfig
from sweeps.config.search import FrontierConfig, OptunaConfig
from sweeps.config.space import Interval
from sweeps.config.yaml_text import from_yaml, to_yaml
from sweeps.planning.labels import Labels, numbered
from sweeps.planning.outcomes import FAILED, MISSING, STOPPED_BY_PERSON, TrialOutcome
from sweeps.planning.plan import PlannedTrial, main_axis
from sweeps.reports.figures import FIGURES, Study
from sweeps.search.best import best_points
from sweeps.search.frontiers import boundaries
from sweeps.tracking import sweep_metrics
from sweeps.tracking.tracker import Tracker


@pytest.mark.parametrize(
    ("varying", "name"),
    [
        ({"model.width": 128, "model.activation": "relu", "seed": 0}, "width=128 relu seed=0"),
        ({"model.activation": "mine:softsign", "seed": 0}, "seed=0 mine:softsign"),
        ({"train.eta": 0.1, "train.loss_tol": 1e-20}, "eta=0.1 loss_tol=1e-20"),
        ({"train.eta": 0.1234567}, "eta=0.1234567"),
        ({"train.eta": 0.1 + 0.2}, "eta=0.30000000000000004"),
        ({"data.seed": 1}, "seed=1"),
        ({"data.seed": 1, "seed": 0}, "data.seed=1 seed=0"),
        ({"a.b.c": 1, "x.b.c": 2, "x.c": 3}, "a.b.c=1 x.b.c=2 x.c=3"),
        ({}, "default"),
    ],
)
def test_a_name_says_what_varies_in_the_shortest_unambiguous_way(varying, name):
    assert Labels(varying)(varying) == name


def test_the_name_of_a_key_does_not_depend_on_values():
    labels = Labels(["model.activation", "model.width"])
    assert labels.key("model.activation") == "activation"


def test_a_name_tells_its_keys_from_those_it_does_not_show():
    assert Labels(["data.seed", "seed"])({"data.seed": 1}) == "data.seed=1"


KEYS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join),
    min_size=1,
    max_size=5,
    unique=True,
)


VALUES = st.one_of(st.floats(allow_nan=False), st.sampled_from(["x", "y"]))


@given(KEYS, st.data())
def test_no_two_choices_of_values_have_one_name(keys, data):
    points = data.draw(st.lists(st.tuples(*(VALUES for _ in keys)), min_size=2, max_size=9))
    labels = Labels(keys)
    names = {repr(point): labels(dict(zip(keys, point, strict=True))) for point in points}
    assert len(set(names.values())) == len(names)


def test_names_that_are_there_several_times_are_numbered():
    assert numbered(["a", "b", "a"]) == ["a_1", "b", "a_2"]


OWN = ["data=sphere", "data.d=8", "data.n=8", "model.width=16", "train.steps=20"]
OWN += ["cluster=inline", "data.seed=0,1", "train.eta=0.1234567,0.12345671", "seed=0,1"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep whose short keys and whose values at six digits are ambiguous."""
    where = tmp_path_factory.mktemp("labels")
    done = inside("run", *OWN, cwd=where)
    assert done.returncode == 0, done.stderr
    (folder,) = (where / "outputs" / "sweeps").iterdir()
    return where / "outputs", folder, sweeps.load(folder.name, output=where / "outputs")


@pytest.mark.slow
def test_seeds_are_grouped_by_hash_in_the_frame_the_report_and_mlflow(swept):
    output, folder, frame = swept
    assert frame["trial"][0] == "data.seed=0 eta=0.1234567 seed=0"
    assert frame["trial"].nunique() == 8
    means = frame.groupby("cell_hash", sort=False)["rate/measured"].agg(["mean", "count"])
    assert means["count"].tolist() == [2] * 4
    shown = [f"{mean:.4g}" for mean in means["mean"]]
    page = (folder / "report.html").read_text().partition("Over seeds")[2]
    rows = re.findall(r"<td>(data.seed=\d eta=[\d.]+)</td>\s*<td>([^<]+)<br>", page)
    names = [f"data.seed={s} eta={eta}" for s in (0, 1) for eta in ("0.1234567", "0.12345671")]
    assert rows[:4] == list(zip(names, shown, strict=True))
    (parent,), trials = runs(client(output))
    rows = re.findall(
        r"\| (data.seed=\S+ eta=[\d.]+)&emsp; \| 2&emsp; \| (\S+) ",
        parent.data.tags["mlflow.note.content"],
    )
    assert rows == list(zip(names, shown, strict=True))
    assert {run.data.tags["mlflow.runName"] for run in trials} == set(frame["trial"])
    # Seeds are no axis to draw against, the data set's neither.
    curves = [k for k in parent.data.metrics if k.startswith("rate/measured/")]
    run = parent.info.run_id
    drawn = [point for key in curves for point in client(output).get_metric_history(run, key)]
    assert sorted(point.value for point in drawn) == pytest.approx(sorted(means["mean"]))


def test_the_page_names_every_trial_by_its_hash_and_old_pages_are_read(swept):
    output, folder, frame = swept
    (path,) = (output / "mlflow" / "artifacts").rglob("sweep.yaml")
    page = from_yaml(path.read_text())
    names = dict(zip(frame["config_hash"], frame["trial"], strict=True))
    assert page["trials"] == names
    tracker = Tracker(TrackingConfig(), output)
    assert tracker.sweeps_like(folder.name[:8]) == {folder.name: names}
    # As versions wrote it before: the hash by the name, so that one of two is not there.
    old = {name: digest for digest, name in list(names.items())[1:]}
    path.write_text(to_yaml(page | {"trials": old}))
    assert tracker.sweeps_like(folder.name[:8]) == {folder.name: names}


def point(cell, varying, **summary):
    """A line of a trial with these values."""
    model = {"width": 16, "activation": "relu", "sigma_w2": 0.08, "sigma_a": 1.0}
    plain = {"model": model, "train": {"eta": 0.5, "eta_unit": "tangent"}}
    for key, value in varying.items():
        group, _, leaf = key.rpartition(".")
        (plain.setdefault(group, {}) if group else plain)[leaf] = value
    name = Labels(varying)(varying)
    return TrialOutcome(
        PlannedTrial(f"{cell}{len(summary)}", cell, name, varying, plain), "budget", summary
    )


def curves(lines):
    """The curves of the measured rate on the sweep's page: (step, value) by name."""
    by_name = {}
    for p in sweep_metrics.points(lines):
        if p.key.startswith("rate/measured/"):
            by_name.setdefault(p.key.removeprefix("rate/measured/"), []).append((p.step, p.value))
    return by_name


def test_curves_are_one_for_each_cell_whatever_mlflow_allows_in_a_name():
    def lines(*pairs):
        return [
            point(str(i), dict(zip(("data.path", "dtype"), pair, strict=True)), **rate(float(i)))
            for i, pair in enumerate(pairs)
        ]

    plain = curves(lines(("a", "x"), ("b", "x")))
    assert plain == {"a_x": [(0, 0.0)], "b_x": [(0, 1.0)]}
    keyed = curves(lines(("a_b", "c"), ("a", "b_c")))
    assert keyed == {"path_a_b dtype_c": [(0, 0.0)], "path_a dtype_b_c": [(0, 1.0)]}
    numbered = curves(lines(("a/b", "x"), ("a_b", "x")))
    assert numbered == {"path_a_b dtype_x_1": [(0, 0.0)], "path_a_b dtype_x_2": [(0, 1.0)]}


@pytest.mark.parametrize("values", [(1, 0.5, 2), (None, 8, 16), (True, False)])
def test_an_axis_of_mixed_values_is_no_axis_of_numbers(values):
    """Half a GD step, or None samples, is no place on an axis."""
    lines = [point(str(v), {"data.n": v}, **rate(0.1)) for v in values]
    assert main_axis([line.planned.varying for line in lines], int) is None
    assert len(curves(lines)) == len(values)
    assert FIGURES["rates"](Study(lines, lambda _: None)).startswith(b"\x89PNG")


def test_an_axis_is_one_that_every_trial_has():
    assert main_axis([{"a": 1, "b": 1}, {"b": 2}, {"a": 3, "b": 1}, {"a": 4, "b": 1}]) == "b"
    assert main_axis([]) is None


def test_searches_tell_cells_apart_by_their_values():
    def lines(**more):
        return [
            point(f"{s}{eta}", {"data.seed": s, "train.eta": eta, "seed": 0}, **rate(s + eta))
            for s in (0, 1)
            for eta in (0.1, 0.2)
        ]

    space = {"train.eta": Interval(0.1, 0.2)}
    best = best_points(OptunaConfig(metric="rate/measured", mode="max", space=space), lines())
    assert [(b.name, b.value) for b in best] == [("data.seed=0", 0.2), ("data.seed=1", 1.2)]
    frontiers = boundaries(FrontierConfig(condition="rate/measured >= 0.15", space=space), lines())
    ends = [(e.name, e.bracket.held, e.bracket.failed) for e in frontiers]
    assert ends == [("data.seed=0 seed=0", 0.2, 0.1), ("data.seed=1 seed=0", 0.2, None)]


def test_the_rates_figure_joins_means_over_seeds_and_nothing_else(monkeypatch):
    from sweeps.reports.figures import rates, style

    kept, png = [], style.png
    monkeypatch.setattr(style, "png", lambda figure: kept.append(figure) or png(figure))
    # The slower seed was stopped early: a mean of the others would be too high.
    lines = [line(8, seed=s, **rate(0.1 * (s + 1))) for s in (0, 1)]
    lines += [line(16, seed=0, **rate(0.4)), line(16, seed=1, status="stopped")]
    rates.draw(Study(lines, lambda _: None))
    drawn = {c.get_label(): c.get_xydata().tolist() for c in kept[0].axes[0].lines}
    assert drawn["relu, measured"] == [[8, pytest.approx(0.15)]]


def test_a_cell_that_is_still_to_be_trained_has_no_mean_yet():
    """MLflow keeps every point: an interrupted sweep's mean would stay beside the later one."""
    done = [line(8, seed=0, **rate(0.1)), line(16, seed=0, **rate(0.2))]
    failed = line(8, seed=1, status=FAILED)
    assert curves([*done, failed]) == {"relu": [(8, 0.1), (16, 0.2)]}
    for status in (MISSING, STOPPED_BY_PERSON):
        assert curves([*done, line(8, seed=1, status=status)]) == {"relu": [(16, 0.2)]}
