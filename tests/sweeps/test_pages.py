"""The real MLflow UI in a headless browser: what a user sees who follows the links."""

import json
import os
import re
from pathlib import Path

import pytest
from command import SMALL, inside, unused_port
from selenium.webdriver import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

from docs.browser import browser, missing, served, show

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
# Where screenshots land, to be looked at.
PICTURES = Path(os.environ.get("SWEEPS_SCREENSHOTS", ""))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    where = tmp_path_factory.mktemp("pages")
    words = ["run", *SMALL, "model.width=8,16", "model.activation=relu,tanh", "cluster=inline"]
    done = inside(*words, "--json", cwd=where)
    links = json.loads(done.stdout)["links"]
    with served(where / "outputs", unused_port()) as address, browser() as driver:
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


def test_the_link_to_the_trials_opens_a_table_worth_reading(page):
    driver, links = page
    show(driver, links["trials"], "width=16 tanh", "4 matching runs")
    shot(driver, "trials")
    for text in ("width=8 relu", "rate/measured", "rate/linearized", "sweeps.status", "budget"):
        assert text in body(driver)
    names = driver.execute_script(NAMES)
    assert {name for name, _, _ in names} >= {"rate/bound", "rate/measured_over_linearized"}
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
    show(driver, links["sweep"], "4 trials: 4 budget", "sweep/trials")
    shot(driver, "sweep")
    show(driver, links["sweep"].replace("?", "/model-metrics?"), "rate/bound", "(2)", "tanh")
    shot(driver, "charts")


def test_a_trials_figure_shows_among_its_artifacts(page):
    driver, links = page
    show(driver, links["trials"], "width=16 tanh")
    run = driver.find_element("link text", "width=16 tanh").get_attribute("href").split("?")[0]
    view = "?workflowType=machine_learning"
    show(driver, run + view, "Parent run", "theory/lambda_star", "budget: all 30 steps were used")
    shot(driver, "trial")
    figure = f"{run}/artifacts/theory_vs_measurement.png{view}"
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
