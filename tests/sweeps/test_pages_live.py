"""A trial that trains, in the real MLflow UI in a headless browser."""

import os
import signal
from pathlib import Path

import pytest
from command import client, runs, started, unused_port
from selenium.webdriver.support.ui import WebDriverWait
from services import until

from docs.browser import browser, missing, served, show

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "-"), pytest.mark.browser]
WORDS = ["run", "data=sphere", "data.n=32", "model.width=64", "model.activation=tanh"]
WORDS += ["train.loss_tol=0", "train.eta=0.001", "train.steps=200000", "cluster=inline"]
PICTURES = Path(os.environ.get("SWEEPS_SCREENSHOTS", ""))
# The greatest step of the drawn curve of the loss; nothing until it is drawn.
LAST_STEP = """for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    const card = plot.closest("[data-testid='experiment-view-compare-runs-card']") || plot;
    if ((card.innerText || "").includes("loss") && plot.data && plot.data[0].x.length)
        return Math.max(...plot.data[0].x) }"""


def drawn(driver, url):
    """Last step of the loss curve on a run's page, which is reloaded."""
    show(driver, url, "curve/loss")
    return WebDriverWait(driver, 60).until(lambda d: d.execute_script(LAST_STEP))


def test_the_loss_curve_of_a_running_trial_grows(tmp_path, slow):
    output = tmp_path / "outputs"
    with started(*WORDS, "tracking.live_seconds=1", cwd=tmp_path, **slow) as sweep:
        until((output / "mlflow" / "mlflow.db").exists, 60, "a store")
        api = client(output)
        until(lambda: api.get_experiment_by_name("default") and runs(api)[1], 60, "a run")
        (run,) = runs(api)[1]
        with served(output, unused_port()) as address, browser() as driver:
            page = f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
            show(driver, page, "Running")
            first = drawn(driver, f"{page}/model-metrics")
            if str(PICTURES) != ".":
                driver.save_screenshot(PICTURES / "live.png")
            until(lambda: length(api, run) > first, 60, "a longer curve")
            assert drawn(driver, f"{page}/model-metrics") > first
            show(driver, f"{page}/system-metrics", "cpu_utilization_percentage")
            if str(PICTURES) != ".":
                driver.save_screenshot(PICTURES / "live_system.png")
        sweep.send_signal(signal.SIGINT)
        sweep.wait(60)


def length(api, run):
    return max(m.step for m in api.get_metric_history(run.info.run_id, "curve/loss"))
