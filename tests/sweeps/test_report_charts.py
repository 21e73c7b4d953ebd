"""The charts of a report: their data for many trials, and their controls in a browser."""

import base64
import gzip
import hashlib
import itertools
import json
import math
import random
import re
from dataclasses import replace

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.support.ui import Select, WebDriverWait
from test_report import line, page_of, rate

from docs.browser import browser, missing
from sweeps.metrics import shown
from sweeps.reports import chart_data
from sweeps.reports.figures import Study

STEPS = 400
NASTY = '<img src="http://127.0.0.1/x"> & co'


def trial(width, activation="relu", seed=0):
    """A finished trial with all metrics of the charts and its own hash."""
    draw = random.Random(f"{width}{activation}{seed}").uniform
    numbers = {f"theory/slack_{k}": draw(0.1, 2) for k in (7, 8, 9, 10)}
    numbers |= {metric: draw(0.5, 1.5) for metric in shown.ON_AXES if metric not in numbers}
    outcome = line(width, activation, seed, **numbers | rate(draw(0.1, 0.2)))
    digest = hashlib.sha256(outcome.planned.name.encode()).hexdigest()
    return replace(outcome, planned=replace(outcome.planned, config_hash=digest))


def trajectory(digest):
    """Noisy curves, which do not compress well."""
    noise = random.Random(digest).random
    steps = range(STEPS)
    return {
        "step": [float(i) for i in steps],
        "loss": [math.exp(-0.1 * i) * (1 + noise()) for i in steps],
        "norm_w": [noise() for _ in steps],
        "lambda_min_gram": [2 + noise() if i % 10 == 0 else None for i in steps],
        "log_loss_linearized": [-0.1 * i * (1 + noise()) for i in steps],
        "log_loss_bound": [-0.001 * i * noise() for i in steps],
    }


def data_of(page):
    """The JSON that the page's script reads."""
    (packed,) = re.findall(r'id="data">([^<]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


@pytest.mark.parametrize("grid", [(250, 4), (1000, 1)], ids=["seeds", "widths"])
def test_a_report_of_a_thousand_trials_is_small_and_states_what_it_omits(grid):
    widths, seeds = grid
    lines = [trial(8 + w, seed=s) for w in range(widths) for s in range(seeds)]
    page = page_of(lines, trajectory, full=True)["report.html"]
    assert len(page.encode()) < 4_000_000
    charts = {chart["id"]: chart for chart in data_of(page)["charts"]}
    curves = charts["loss"]["figure"]["data"]
    assert len({trace["meta"]["hash"] for trace in curves}) == 50
    assert charts["loss"]["caption"].startswith("50 of 1000 trials, evenly chosen.")
    kinds = [trace["meta"]["kind"] for trace in curves]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ("measured", "linearised", "bound"), 50
    )
    assert max(len(trace["x"]) for trace in curves) < STEPS


def test_too_many_points_are_thinned_evenly():
    lines = [trial(8 + w) for w in range(3 * chart_data.MAX_POINTS)]
    table = chart_data.table(Study(lines, lambda _: None))
    assert (table.outcomes[0], table.outcomes[-1]) == (lines[0], lines[-1])
    widths = table.columns["model.width"]
    assert len(widths) == chart_data.MAX_POINTS
    assert {b - a for a, b in itertools.pairwise(widths)} == {3, 4}


def test_few_groups_give_the_curves_of_all_their_seeds():
    lines = [trial(w, seed=s) for s in range(3) for w in (8, 16)]
    groups = chart_data.curves(Study(lines, trajectory))
    assert [each.group for each in groups] == ["width=8 relu"] * 3 + ["width=16 relu"] * 3
    assert {each.outcome.planned.name for each in groups} == {x.planned.name for x in lines}
    ratio = groups[0].ratio
    assert ratio.index.tolist() == [float(i) for i in range(0, STEPS, 10)]
    assert ratio.iloc[0] == 1.0


def test_predictions_far_beyond_the_measured_loss_are_cut_off():
    wild = trajectory("a") | {"log_loss_linearized": [300.0 if i else 0.0 for i in range(STEPS)]}
    (group,) = chart_data.curves(Study([trial(8)], lambda _: wild))
    assert group.linearized.to_dict() == {0.0: 1.0}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """(browser driver, trials) of a report opened from its file."""
    if missing():
        pytest.skip(missing())
    lines = [trial(w, a, s) for w in (8, 16, 32) for a in ("relu", NASTY) for s in (0, 1)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(lines, trajectory)["report.html"])
    with browser(1280, 900) as driver:
        driver.get(path.as_uri())
        WebDriverWait(driver, 60).until(drawn)
        yield driver, lines


def drawn(driver):
    """Number of drawn charts once all are drawn, else None."""
    return driver.execute_script("return document.body.dataset.drawn")


def plot(driver, chart, what):
    """A property of a chart's Plotly state."""
    script = f"return document.querySelector('#chart-{chart} .plot').{what}"
    return driver.execute_script(script)


def choose(driver, chart, name, value):
    box = driver.find_element("css selector", f"#chart-{chart} [aria-label='{name}']")
    Select(box).select_by_value(value)


def to(driver, chart, selector):
    """Move the pointer to the first element of a chart that matches the selector."""
    element = driver.find_element("css selector", f"#chart-{chart} {selector}")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    ActionChains(driver).move_to_element(element).perform()
    return element


@pytest.mark.browser
def test_all_charts_are_drawn_without_network_or_errors(opened):
    driver, lines = opened
    assert drawn(driver) == "5"
    assert [e for e in driver.get_log("browser") if e["level"] != "INFO"] == []
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    # No text of a config becomes markup, and no button uploads data.
    assert "127.0.0.1" not in {
        i.get_attribute("src") for i in driver.find_elements("tag name", "img")
    }
    assert len(driver.find_elements("tag name", "img")) == 1
    titles = driver.execute_script(
        "return [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
    )
    assert not any(word in title for title in titles for word in ("hare", "loud", "dit in"))
    points = driver.find_elements("css selector", "#chart-predicted .scatterlayer path.point")
    assert len(points) == len(lines)
    curves = driver.find_elements("css selector", "#chart-loss .scatterlayer path.js-line")
    assert len(curves) == 3 * len(lines)


@pytest.mark.browser
def test_pointing_shows_trial_and_hash_and_a_click_keeps_them(opened):
    driver, lines = opened
    to(driver, "predicted", "path.point")
    hover = WebDriverWait(driver, 20).until(
        lambda d: d.find_element("css selector", "#chart-predicted .hoverlayer").text
    )
    ActionChains(driver).click().perform()
    kept = driver.find_element("css selector", "#chart-predicted .picked").text
    (one,) = [x for x in lines if x.planned.short_hash in hover]
    assert one.planned.name.partition(" ")[0] in hover
    assert "measured rate: " in hover
    assert "linearised rate: " in hover
    assert kept.startswith(f"{one.planned.name}, hash {one.planned.short_hash}, measured rate: ")
    assert ", linearised rate: " in kept


@pytest.mark.browser
def test_a_click_in_the_legend_hides_a_group_with_all_its_curves(opened):
    driver, _ = opened
    name = plot(driver, "loss", "data[0].legendgroup")

    def hidden(_):
        """(group, kind) of the curves that the legend hides."""
        off = "data.filter(t => t.visible === 'legendonly').map(t => [t.legendgroup, t.meta.kind])"
        return {tuple(trace) for trace in plot(driver, "loss", off)}

    to(driver, "loss", ".legendtoggle").click()
    all_kinds = {(name, kind) for kind in ("measured", "linearised", "bound")}
    assert WebDriverWait(driver, 20).until(hidden) == all_kinds
    # Groups hidden by the legend stay hidden when a kind of curve is shown again.
    bound = driver.find_elements("css selector", "#chart-loss input")[1]
    bound.click()
    kinds = "data.filter(t => t.visible === false).map(t => t.meta.kind)"
    assert set(plot(driver, "loss", kinds)) == {"bound"}
    bound.click()
    assert plot(driver, "loss", kinds) == []
    assert hidden(driver) == all_kinds
    choose(driver, "loss", "x scale", "log")  # nor does another scale show them
    assert hidden(driver) == all_kinds
    to(driver, "loss", ".legendtoggle").click()
    WebDriverWait(driver, 20).until_not(hidden)


@pytest.mark.browser
def test_axes_are_switched(opened):
    driver, lines = opened
    assert plot(driver, "loss", "_fullLayout.yaxis.type") == "log"
    choose(driver, "loss", "y scale", "linear")
    assert plot(driver, "loss", "_fullLayout.yaxis.type") == "linear"
    assert plot(driver, "ratio", "_fullLayout.xaxis.title.text") == "width m"
    assert set(plot(driver, "ratio", "data[0].x")) == {8, 16, 32}
    choose(driver, "ratio", "x", "model.activation")
    assert plot(driver, "ratio", "_fullLayout.xaxis.type") == "category"
    choose(driver, "ratio", "x", "theory/gram_error")
    choose(driver, "ratio", "y", "theory/lambda_0_over_m")
    shown = zip(*(plot(driver, "ratio", f"data[0].{axis}") for axis in "xy"), strict=True)
    known = {
        tuple(
            chart_data.rounded(x.summary[k])
            for k in ("theory/gram_error", "theory/lambda_0_over_m")
        )
        for x in lines
    }
    assert set(shown) <= known


@pytest.mark.browser
def test_a_line_goes_through_the_medians_at_each_width(opened):
    driver, lines = opened
    choose(driver, "ratio", "x", "model.width")
    choose(driver, "ratio", "y", "rate/measured_over_linearized")
    of_relu = [x for x in lines if x.planned.varying["model.activation"] == "relu"]
    values = {w: [] for w in (8, 16, 32)}
    for x in of_relu:
        values[x.planned.varying["model.width"]].append(x.summary["rate/measured_over_linearized"])
    assert plot(driver, "ratio", "data[1].x") == [8, 16, 32]
    assert plot(driver, "ratio", "data[1].y") == pytest.approx(
        [sum(pair) / 2 for pair in values.values()], rel=1e-5
    )
