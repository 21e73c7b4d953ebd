"""MLflow's UI in a headless browser, as a user sees it who follows the links."""

import json
import os
import re
from pathlib import Path

import pytest
from command import SMALL, inside, unused_port
from selenium.webdriver import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

from docs.browser import browser, missing, served, show
from sweeps.tracking.charts import CLOSED, LOSSES, RATES, SPECTRA

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "-"), pytest.mark.browser]
VIEW = "?workflowType=machine_learning"
# MLflow draws only the sections of charts that are in sight: so tall a window shows all of ours.
TALL = 2000
# Where screenshots land, to be looked at.
PICTURES = Path(os.environ.get("SWEEPS_SCREENSHOTS", ""))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    where = tmp_path_factory.mktemp("pages")
    words = ["run", *SMALL, "model.width=8,16", "model.activation=relu,tanh", "cluster=inline"]
    done = inside(*words, "--json", cwd=where, full=True)
    links = json.loads(done.stdout)["links"]
    with served(where / "outputs", unused_port()) as address, browser(1600, TALL) as driver:
        yield driver, {k: v.replace("http://127.0.0.1:5000", address) for k, v in links.items()}


# The names of columns that are shown, the pixels they need, and those they have.
NAMES = """return [...document.querySelectorAll("[role=columnheader] *")]
    .filter(e => !e.children.length && e.textContent.includes("/"))
    .map(e => [e.textContent, e.getBoundingClientRect().width,
               e.closest("[role=columnheader]").clientWidth])"""


def shot(driver, name):
    if str(PICTURES) != ".":
        PICTURES.mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(PICTURES / f"{name}.png")


def body(driver):
    return driver.find_element("tag name", "body").text


CARDS = "[data-testid='experiment-view-compare-runs-card']"
SECTIONS = "[data-testid='experiment-view-compare-runs-section-header']"
# Of a chart that was drawn: its title, its axes' names, and how its y axis is scaled.
CHART = """const plot = arguments[0].querySelector(".js-plotly-plot")?._fullLayout;
    const title = arguments[0].innerText.trim().split("\\n")[0];
    return plot && [title, plot.xaxis.title.text, plot.yaxis.title.text, plot.yaxis.type]"""


def charts(driver, count):
    """Axes of the first charts of the page, by title."""
    by_title = {}
    for k in range(count):
        card = waited(driver, lambda d, k=k: d.find_elements("css selector", CARDS)[k:])[0]
        if "Parallel" not in card.text:
            chart = waited(driver, lambda d, card=card: d.execute_script(CHART, card))
            by_title[chart[0]] = tuple(chart[1:])
    return by_title


def waited(driver, condition):
    """Value of the condition, once it is true."""
    return WebDriverWait(driver, 60).until(condition)


def sections(driver):
    """Names of the page's sections of charts."""
    headers = driver.find_elements("css selector", SECTIONS)
    return [header.text.partition(" (")[0].partition("\n")[0] for header in headers]


def test_the_link_to_the_trials_opens_the_charts(page):
    driver, links = page
    show(driver, links["trials"], "Loss against the GD step", "4 matching runs")
    by_title = charts(driver, 8)
    shot(driver, "trials_charts")
    scales = {title: scale for title, (x, _, scale) in by_title.items() if x == "Step"}
    assert scales == {
        "curve/loss": "log",
        "curve/loss_linearized": "log",
        "curve/loss_bound": "log",
        "curve/lambda_ratio": "linear",
        "spectrum/norm_w": "linear",
    }
    assert [axes for axes in by_title.values() if axes[0] != "Step"] == [
        ("rate/linearized", "rate/measured", "linear"),
        ("model.width", "rate/measured_over_linearized", "linear"),
    ]
    assert "Parallel Coordinates" in body(driver)
    assert sections(driver) == [LOSSES, RATES, SPECTRA, *CLOSED]
    # Those of the other metrics are closed.
    assert len(driver.find_elements("css selector", CARDS)) == 8


def test_the_table_of_trials_is_one_click_away(page):
    driver, links = page
    show(driver, links["trials"], "Loss against the GD step", "4 matching runs")
    switch = "//input[@name='runs-view-mode'][@value='TABLE']/ancestor::label"
    driver.find_element("xpath", switch).click()
    WebDriverWait(driver, 60).until(lambda d: "sweeps.status" in body(d))
    read_the_table(driver)
    show(driver, links["table"], "width=16 tanh", "sweeps.status")
    shot(driver, "trials")
    read_the_table(driver)


def read_the_table(driver):
    for text in ("width=8 relu", "width=16 tanh", "budget", "Measured 0."):
        assert text in body(driver)
    names = driver.execute_script(NAMES)
    assert {name for name, _, _ in names} >= {"rate/measured", "rate/measured_over_linearized"}
    assert [name for name, needed, given in names if needed > given] == []
    assert "GenAI" in body(driver)
    assert "Model training" in body(driver)


def test_the_experiments_own_page_nests_trials_under_their_sweep(page):
    driver, links = page
    show(driver, links["trials"].partition("&")[0], "5 matching runs")
    assert "width=16 tanh" not in body(driver)
    cell = "//a[starts-with(., 'sweep ')]/ancestor::div[@role='gridcell']"
    driver.find_element("xpath", f"{cell}//button").click()
    WebDriverWait(driver, 20).until(lambda d: "width=16 tanh" in body(d))
    shot(driver, "nested")


def test_a_filter_of_the_docs_finds_its_runs_in_the_search_box(page):
    """The others of docs/how-to/browse.md are tried in test_filters.py."""
    driver, links = page
    show(driver, links["trials"].partition("&")[0], "5 matching runs")
    box = driver.find_element("css selector", "[placeholder*='metrics.rmse']")
    box.send_keys("params.`model.activation` = 'tanh'" + "\ue007")
    # Two trials, and MLflow shows their sweep with them.
    WebDriverWait(driver, 20).until(lambda d: "3 matching runs" in body(d))


def test_the_link_to_the_sweep_opens_its_page_with_charts(page):
    driver, links = page
    show(driver, links["sweep"], "the measured rate is", "sweep/trials")
    shot(driver, "sweep")
    show(driver, links["sweep"].replace("?", "/model-metrics?"), "rate/bound", "(2)", "tanh")
    shot(driver, "charts")


def run_of(driver, links, name):
    """Address of a trial's page, without its view."""
    show(driver, links["table"], name)
    return driver.find_element("link text", name).get_attribute("href").split("?")[0]


def test_a_trials_page_begins_with_the_verdict(page):
    driver, links = page
    run = run_of(driver, links, "width=16 tanh")
    verdict = ("Measured 0.", "the linearised prediction and", "of conditions (7) to (10)")
    show(driver, run + VIEW, "Parent run", "theory/lambda_star", *verdict)
    shot(driver, "trial")
    driver.find_element("xpath", "//button[contains(., 'Show more')]").click()
    for text in ("guaranteed where (7) to (10) hold", "L ||W(t)||_2 < 1", "all 30 steps"):
        assert text in body(driver)


def test_a_trials_metrics_begin_with_curves(page):
    driver, links = page
    show(driver, f"{run_of(driver, links, 'width=16 tanh')}/model-metrics{VIEW}", "loss_linearized")
    by_title = charts(driver, 4)
    shot(driver, "trial_metrics")
    assert sections(driver)[0] == "curve"
    assert list(by_title) == ["lambda_ratio", "loss", "loss_bound", "loss_linearized"]
    assert {x for x, _, _ in by_title.values()} == {"Step"}


def test_a_trials_figure_shows_among_its_artifacts(page):
    driver, links = page
    run = run_of(driver, links, "width=16 tanh")
    figure = f"{run}/artifacts/theory_vs_measurement.png{VIEW}"
    show(driver, figure, "trajectory.parquet", "config.yaml")
    shot(driver, "figure")
    images = driver.find_elements("tag name", "img")
    assert any(int(image.get_attribute("naturalWidth")) > 500 for image in images)


def test_the_report_works_among_the_sweeps_artifacts(page):
    """Its charts are drawn in MLflow's viewer, a frame in which scripts run."""
    driver, links = page
    driver.get_log("browser")
    show(driver, links["sweep"].replace("?", "/artifacts/report.html?"), "trials.csv")
    frame = driver.find_element("css selector", "iframe")
    driver.switch_to.frame(frame)
    shown = "return document.body.dataset.drawn"
    WebDriverWait(driver, 60).until(lambda d: d.execute_script(shown) == "5")
    assert "In the median the measured rate is" in body(driver)
    (image,) = driver.find_elements("tag name", "img")
    assert int(image.get_attribute("naturalWidth")) > 500
    point = driver.find_element("css selector", "#chart-predicted path.point")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(driver).move_to_element(point).perform()
    hover = driver.find_element("css selector", "#chart-predicted .hoverlayer")
    WebDriverWait(driver, 20).until(lambda d: re.search("[0-9a-f]{12}", hover.text))
    shot(driver, "report")
    driver.switch_to.default_content()
    assert [e for e in driver.get_log("browser") if "report" in e["message"]] == []
