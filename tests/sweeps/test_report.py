"""Figures and the report: what they show comes from the trials, and from nothing else."""

import base64
import math
import re
from dataclasses import replace

import pytest
from command import SMALL, client, inside, runs

from sweeps.figures import FIGURES, Study, rates, style
from sweeps.planning import PlannedTrial
from sweeps.report import FAILED, Line
from sweeps.report_page import Heading, files
from sweeps.reports.attention import counted, remarks
from sweeps.reports.spread import of_seeds
from sweeps.terminal import Terminal


def line(width=8, activation="relu", seed=0, *, status="budget", **summary):
    model = {"width": width, "activation": activation, "sigma_w2": 0.08, "sigma_a": 1.0}
    plain = {"model": model, "train": {"eta": 0.5, "eta_unit": "tangent"}, "seed": seed}
    varying = {"model.width": width, "model.activation": activation, "seed": seed}
    name = f"width={width} {activation} seed={seed}"
    cell = f"{width}{activation}"
    planned = PlannedTrial(f"{cell}{seed}", cell, name, varying, plain)
    return Line(planned, status, summary)


def rate(value, **more):
    return {"rate/measured": value, "rate/linearized": 1.1 * value, "rate/bound": 1e-3} | more


LINES = [
    line(8, seed=0, **rate(0.1)),
    line(8, seed=1, **rate(0.3)),
    line(16, seed=0, **rate(0.4)),
    line(16, "tanh", **rate(0.2)),
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, before they become pictures."""
    kept = []
    png = style.png
    monkeypatch.setattr(style, "png", lambda figure: kept.append(figure) or png(figure))
    return kept


def test_the_rates_figure_shows_every_trial_and_the_means(drawn):
    rates.draw(Study(LINES, lambda _: None))
    curves = {c.get_label(): c.get_xydata().tolist() for c in drawn[0].axes[0].lines}
    assert curves["relu, measured"] == [[8, pytest.approx(0.2)], [16, 0.4]]
    assert curves["tanh, measured"] == [[16, 0.2]]
    points = [tuple(p) for c in drawn[0].axes[0].lines for p in c.get_xydata().tolist()]
    assert {(8, 0.1), (8, 0.3), (16, 0.4), (16, 0.2)} <= set(points)


def test_the_scatter_puts_measured_against_each_prediction(drawn):
    rates.scatter(Study(LINES, lambda _: None))
    curves = {c.get_label(): c.get_xydata().tolist() for c in drawn[0].axes[0].lines}
    assert curves["linearised at $t=0$"][0] == [pytest.approx(0.11), 0.1]
    low, high = curves["measured = predicted"]
    assert low[0] == low[1]
    assert high[0] == high[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("lines", [LINES, LINES[:1], []], ids=["four", "one", "none"])
def test_every_figure_is_drawn_of_whatever_there_is(name, lines):
    """Warnings are errors: an empty logarithmic axis or a legend of nothing shows here."""
    picture = FIGURES[name](Study(lines, lambda _: None))
    assert picture.startswith(b"\x89PNG")
    assert picture == FIGURES[name](Study(lines, lambda _: None))


WILD = {
    "step": [0.0, 1.0, 2.0],
    "loss": [1.0, 1e300, None],
    "norm_w": [0.8, None, 3.0],
    "log_loss_linearized": [0.0, 690.0, 1e5],
    "log_loss_bound": [0.0, -1e5, None],
    "forward_steps": [3.0, 2.0, None],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_curves_past_all_bounds_are_cut_off(name, drawn):
    FIGURES[name](Study(LINES, lambda _: WILD))
    for axes in drawn[0].axes:
        assert all(math.isfinite(v) for v in axes.get_ylim())


def test_series_are_told_apart_in_grey():
    looks = [tuple(style.series(i).values()) for i in range(63)]
    assert len(set(looks)) == 63
    assert len({look[1] for look in looks[:7]}) == 7


def page_of(lines, trajectory=lambda _: None):
    heading = Heading("0123456789ab", "a <study>", "sweeps run x=1,2", "rates")
    return files(heading, Study([line for line in lines if line.finished], trajectory), lines)


def test_the_page_is_self_contained_and_says_what_was_found():
    made = page_of(LINES)
    page = made["report.html"]
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(e) for e in embedded] == [made["rates.png"]]
    assert {"loss_curves.png", "measured_vs_predicted.png"} <= set(made)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "http://" not in page
    assert "https://" not in page
    assert "a &lt;study&gt;" in page
    assert "width=16 tanh seed=0" in page


def test_few_seeds_are_shown_as_they_are_and_no_interval_is_laughable():
    assert of_seeds([0.1]) == ["0.1", "one seed"]
    assert of_seeds([0.1, 0.3]) == ["0.2", "0.1, 0.3"]
    assert of_seeds([0.3, 0.1, 0.3, 0.1]) == ["0.2", "0.3, 0.1, 0.3, 0.1"]
    # t(0.975, 4) = 2.7764; the deviation of 1 to 5 is 1.5811: 3 -+ 1.9632
    assert of_seeds([1.0, 2.0, 3.0, 4.0, 5.0]) == ["3", "sd 1.58", "95 %: 1.04 to 4.96"]
    # The interval would reach below zero, where no rate lies.
    assert of_seeds([0.1, 0.1, 0.1, 0.1, 2.0]) == ["0.48", "sd 0.85", "all 0.1 to 2"]
    page = page_of(LINES)["report.html"]
    assert "<td>0.2<br><small>0.1, 0.3</small></td>" in page
    assert "one seed" in page


def test_what_was_violated_is_said():
    good = line(**rate(0.1), **{"theory/bound_violation": -0.3, "theory/lambda_ratio_min": 0.9})
    assert remarks([good]) == []
    lines = [
        replace(good, summary=good.summary | {"theory/bound_violation": 0.2}),
        replace(good, summary=good.summary | {"theory/lambda_ratio_min": 0.4}),
        replace(good, summary=good.summary | {"theory/well_posed_held": 0.0}),
        replace(good, status="diverged", summary={}),
        replace(good, summary={}),
        replace(good, status=FAILED, summary={}, error="it broke"),
    ]
    said = [remark.text for remark in remarks(lines)]
    words = ("exceeded, by 0.2", "0.4 lambda_0", "reached 1", "diverged", "no rate", "it broke")
    assert len(said) == len(words)
    for what, word in zip(said, words, strict=True):
        assert word in what
    assert counted(remarks(lines)) == [
        "1 trial failed",
        "1 trial diverged",
        "1 trial has no measured rate",
        "1 trial exceeds the bound where its conditions do not hold",
        "1 trial has lambda_t below lambda_0 / 2 at some step",
        "1 trial reached L ||W||_2 = 1",
    ]


def test_an_exceeded_bound_that_was_guaranteed_comes_first():
    broken = {"theory/bound_violation": 0.2, "theory/condition_held": 1.0}
    lines = [line(seed=0, status=FAILED), line(seed=1, **rate(0.1), **broken)]
    lines[0] = replace(lines[0], error="it broke")
    first, second = counted(remarks(lines))
    assert "contradicts the theorem" in first
    assert second == "1 trial failed"


def test_the_report_command_writes_it_anew_here_and_in_mlflow(tmp_path):
    done = inside("run", *SMALL, "seed=0,1", "cluster=inline", cwd=tmp_path)
    assert done.returncode == 0
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    page = (folder / "report.html").read_text()
    for path in folder.iterdir():
        path.unlink()
    again = inside("report", folder.name[:6], cwd=tmp_path)
    assert again.stdout.strip() == f"outputs/sweeps/{folder.name}/report.html"
    assert (folder / "report.html").read_text() == page
    api = client(tmp_path / "outputs")
    (parent,), _ = runs(api)
    names = {file.path for file in api.list_artifacts(parent.info.run_id)}
    assert {"report.html", "rates.png", "loss_curves.png", "trials.csv", "sweep.yaml"} <= names


def test_a_sweep_that_is_none_is_refused(tmp_path):
    absent = inside("report", "abcdef0", cwd=tmp_path)
    assert absent.returncode == 2
    assert "no record" in absent.stderr
    assert not list(tmp_path.iterdir())
    inside("run", *SMALL, "cluster=inline", cwd=tmp_path)
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    for name, why in (("abcdef0", "no sweep's name"), (folder.name[:5], "6 or more digits")):
        done = inside("report", name, cwd=tmp_path)
        assert done.returncode == 2
        assert why in done.stderr


def test_a_report_of_thousands_says_what_it_leaves_out_and_counts_all_seeds():
    many = [line(8, seed=seed, **rate(0.1 + seed)) for seed in range(700)]
    many += [line(w, seed=1, status="diverged") for w in range(100, 700)]
    made = files(Heading("s", "study", "c", "rates"), Study([], lambda _: None), many)
    page = made["report.html"]
    assert "The first 500; all are in trials.csv." in page
    assert "The first 500 of 600." in page  # remarks
    assert "The first 500 of 601 groups." in page
    assert "<td>349.6<br>" in page  # the mean over all 700 seeds
    assert page.count("<tr>") < 1600


def test_too_many_series_to_tell_apart_are_drawn_as_one():
    many = [line(w, seed=0, **rate(0.1)) for w in range(8, 30)]
    ((name, lines),) = Study(many, lambda _: None).others("model.sigma_w2")
    assert (name, lines) == ("all", many)
    assert len(Study(many[:20], lambda _: None).others("model.sigma_w2")) == 20


def test_a_long_table_ends_with_where_the_rest_is(capsys):
    rows = [[f"row{i}", "x"] for i in range(700)]
    Terminal().table(["a", "b"], rows, rest="elsewhere")
    said = capsys.readouterr().out
    assert "row499" in said
    assert "row500" not in said
    assert "... and 200 more: elsewhere" in said
    Terminal().table(["a", "b"], rows)
    assert "row699" in capsys.readouterr().out
