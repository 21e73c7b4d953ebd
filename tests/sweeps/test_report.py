"""Figures and the report show the numbers of the trials."""

import base64
import contextlib
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from command import ENV, SMALL, client, inside, quick, runs

from sweeps.driver.terminal import Terminal
from sweeps.planning.outcomes import FAILED, TrialOutcome, to_csv
from sweeps.planning.plan import PlannedTrial
from sweeps.reports.attention import counts_by_kind, remarks
from sweeps.reports.figures import FIGURES, Study, rates, style
from sweeps.reports.html_report import ReportHeader, files
from sweeps.reports.spread import of_seeds


def line(width=8, activation="relu", seed=0, *, status="budget", **summary):
    model = {"width": width, "activation": activation, "sigma_w2": 0.08, "sigma_a": 1.0}
    train = {"eta": 0.5, "eta_unit": "tangent", "loss_tol": 1e-20}
    plain = {"model": model, "train": train, "seed": seed}
    varying = {"model.width": width, "model.activation": activation, "seed": seed}
    name = f"width={width} {activation} seed={seed}"
    cell = f"{width}{activation}"
    planned = PlannedTrial(f"{cell}{seed}", cell, name, varying, plain)
    return TrialOutcome(planned, status, summary)


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
    """The list of drawn figures, as matplotlib objects."""
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


def test_the_scatter_plots_measured_against_each_predicted_rate(drawn):
    rates.scatter(Study(LINES, lambda _: None))
    curves = {c.get_label(): c.get_xydata().tolist() for c in drawn[0].axes[0].lines}
    assert curves["linearised at $t=0$"][0] == [pytest.approx(0.11), 0.1]
    low, high = curves["measured = predicted"]
    assert low[0] == low[1]
    assert high[0] == high[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("lines", [LINES, LINES[:1], []], ids=["four", "one", "none"])
def test_every_figure_is_drawn_for_any_number_of_trials(name, lines):
    """Warnings are errors, so an empty logarithmic axis or an empty legend fails."""
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
def test_curves_with_extreme_values_are_cut_off(name, drawn):
    FIGURES[name](Study(LINES, lambda _: WILD))
    for axes in drawn[0].axes:
        assert all(math.isfinite(v) for v in axes.get_ylim())


def test_the_convergence_figure_shows_losses_over_all_decades_and_local_rates(drawn):
    """A loss exp(-0.02 t) of eta lambda_min(H) = 0.005: twice the rate of that mode."""
    eta, h, steps = 0.1, 0.05, range(0, 3000, 10)
    curve = {
        "step": [float(t) for t in steps],
        "loss": [3 * math.exp(-0.02 * t) for t in steps],
        "lambda_min_tangent": [h for _ in steps],
        "kernel_drift": [1e-3 * t for t in steps],
        "log_loss_population": [math.log(3) - 0.01 * t for t in steps],
    }
    lines = [line(width, **{"train/eta": eta}) for width in (8, 16)]
    FIGURES["convergence"](Study(lines, lambda _: curve))
    losses, rates_axes, kernels = drawn[0].axes
    assert {axes.get_xscale() for axes in drawn[0].axes} == {"log"}
    measured, population = (dict(c.get_xydata().tolist()) for c in losses.lines[:2])
    assert measured[10] == pytest.approx(math.exp(-0.2))
    assert measured[2990] == pytest.approx(math.exp(-0.02 * 2990))
    assert population[10] == pytest.approx(math.exp(-0.1))
    ratio = 0.02 / (-2 * math.log(1 - eta * h))
    local = rates_axes.lines[0].get_ydata().tolist()
    assert len(local) > 100
    assert local == pytest.approx([ratio] * len(local), rel=1e-6)
    assert [len(axes.lines) for axes in (rates_axes, kernels)] == [3, 2]


def test_series_are_distinct_in_greyscale():
    looks = [tuple(style.series(i).values()) for i in range(63)]
    assert len(set(looks)) == 63
    assert len({look[1] for look in looks[:7]}) == 7


def page_of(lines, trajectory=lambda _: None, *, full=False):
    """Files of a report; its figures are drawn where `full` is true."""
    header = ReportHeader("0123456789ab", "a <study>", "sweeps run x=1,2", "rates")
    with contextlib.nullcontext() if full else quick():
        return files(header, Study([line for line in lines if line.finished], trajectory), lines)


def test_the_page_is_self_contained_and_shows_the_trials():
    made = page_of(LINES, full=True)
    page = made["report.html"]
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(e) for e in embedded] == [made["rates.png"]]
    assert {"loss_curves.png", "measured_vs_predicted.png"} <= set(made)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "http://" not in page
    assert "https://" not in page
    assert "a &lt;study&gt;" in page
    assert "width=16 tanh seed=0" in page


def test_few_seeds_are_listed_and_an_interval_below_zero_is_replaced():
    assert of_seeds([0.1]) == ["0.1", "one seed"]
    assert of_seeds([0.1, 0.3]) == ["0.2", "0.1, 0.3"]
    assert of_seeds([0.3, 0.1, 0.3, 0.1]) == ["0.2", "0.3, 0.1, 0.3, 0.1"]
    # t(0.975, 4) = 2.7764; the deviation of 1 to 5 is 1.5811: 3 -+ 1.9632
    assert of_seeds([1.0, 2.0, 3.0, 4.0, 5.0]) == ["3", "sd 1.58", "95 %: 1.04 to 4.96"]
    # The interval would go below zero, although all rates are positive.
    assert of_seeds([0.1, 0.1, 0.1, 0.1, 2.0]) == ["0.48", "sd 0.85", "all 0.1 to 2"]
    page = page_of(LINES)["report.html"]
    assert "<td>0.2<br><small>0.1, 0.3</small></td>" in page
    assert "one seed" in page


def test_violations_are_remarked():
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
    texts = [remark.text for remark in remarks(lines)]
    words = ("exceeded, by 0.2", "0.4 lambda_0", "reached 1", "diverged", "no rate", "it broke")
    for text, word in zip(texts, words, strict=True):
        assert word in text
    assert counts_by_kind(remarks(lines)) == [
        "1 trial failed",
        "1 trial diverged",
        "1 trial without a measured rate",
        "1 trial above the bound where its conditions do not hold",
        "1 trial with lambda_t below lambda_0 / 2 at some step",
        "1 trial with L ||W||_2 >= 1 at some step",
    ]


def test_an_exceeded_bound_that_was_guaranteed_comes_first():
    broken = {"theory/bound_violation": 0.2, "theory/condition_held": 1.0}
    lines = [line(seed=0, status=FAILED), line(seed=1, **rate(0.1), **broken)]
    lines[0] = replace(lines[0], error="it broke")
    first, second = counts_by_kind(remarks(lines))
    assert "contradicts the theorem" in first
    assert second == "1 trial failed"


def test_the_report_command_writes_the_report_again_to_disk_and_mlflow(tmp_path):
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


def test_an_unknown_sweep_is_refused(tmp_path):
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


def test_a_long_report_states_what_it_omits_and_averages_all_seeds():
    many = [line(8, seed=seed, **rate(0.1 + seed)) for seed in range(700)]
    many += [line(w, seed=1, status="diverged") for w in range(100, 700)]
    made = files(ReportHeader("s", "study", "c", "rates"), Study([], lambda _: None), many)
    page = made["report.html"]
    assert "The first 500; all are in trials.csv." in page
    assert "The first 500 of 600." in page  # remarks
    assert "The first 500 of 601 groups." in page
    assert "<td>349.6<br>" in page  # the mean over all 700 seeds
    assert page.count("<tr>") < 1600


def test_the_table_of_trials_has_the_keys_that_vary():
    text = to_csv([line(w, seed=1, **rate(0.1)) for w in (8, 16)])
    names, first, _ = (row.split(",") for row in text.splitlines())
    assert names[:4] == ["trial", "model.width", "model.activation", "seed"]
    assert first[1:4] == ["8", "relu", "1"]


def test_too_many_series_are_drawn_as_one():
    many = [line(w, seed=0, **rate(0.1)) for w in range(8, 30)]
    ((name, lines),) = Study(many, lambda _: None).others("model.sigma_w2")
    assert (name, lines) == ("all", many)
    some = Study(many[:20], lambda _: None)
    assert len(some.others("model.sigma_w2")) == 20
    assert [name for name, _ in some.others("model.sigma_w2", each=2)] == ["all"]
    firsts, count = some.first_of_groups()
    assert (len(firsts), count) == (10, 20)


def test_matplotlib_does_not_warn_of_its_caches_on_the_terminal(tmp_path):
    """A folder that it cannot make, like one on a full disk, is no concern of the user."""
    code = "import sys; from sweeps.cli import main; sys.argv[1:] = ['show', 'seed=1', '--hash']\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "from sweeps.reports.figures import style; print(style.mpl.get_cachedir())"
    env = ENV | {"MPLCONFIGDIR": "/proc/none", "TMPDIR": str(tmp_path)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith(str(tmp_path))
    assert done.stderr == ""


def test_a_long_table_ends_with_the_place_of_the_rest(capsys):
    rows = [[f"row{i}", "x"] for i in range(700)]
    Terminal().table(["a", "b"], rows, rest="elsewhere")
    text = capsys.readouterr().out
    assert "row499" in text
    assert "row500" not in text
    assert "... and 200 more: elsewhere" in text
    Terminal().table(["a", "b"], rows)
    assert "row699" in capsys.readouterr().out
