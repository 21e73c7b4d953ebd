"""Renew the pictures of the README, the tutorial and the MLflow page: `make pictures`.

Needs Debian's chromium and chromium-driver. Trains their sweeps where they are not
finished, opens the quickstart's pages in a browser and copies figures.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from selenium.webdriver.remote.webdriver import WebDriver

from docs.browser import browser, missing, served, show

DOCS = Path(__file__).parent
OUTPUT = Path("outputs")
PORT = 5000
# Seconds until MLflow has drawn all charts that are in sight.
DRAWN = 20
TRIAL = "width=512 tanh seed=0"
# The tutorial's own sweep, and its report's figures.
WIDER = "model.width=128,256,512,1024"
FIGURES = ("rates.png", "measured_vs_predicted.png")


def main() -> None:
    """Write docs/*.png and docs/tutorial/*.png."""
    if missing():
        sys.exit(f"pictures: {missing()}: apt-get install chromium chromium-driver")
    sweep = _run("experiment=quickstart")
    with served(OUTPUT, PORT), browser(1920, 1240) as driver:
        _pages(driver, sweep["links"])
    (config_hash,) = [t["config_hash"] for t in sweep["trials"] if t["trial"] == TRIAL]
    shutil.copy(_figure(config_hash), DOCS / "theory_vs_measurement.png")
    wider = _run("experiment=quickstart", WIDER)
    (DOCS / "tutorial").mkdir(exist_ok=True)
    for name in FIGURES:
        shutil.copy(OUTPUT / "sweeps" / wider["sweep"] / name, DOCS / "tutorial" / name)


def _pages(driver: WebDriver, links: dict[str, str]) -> None:
    """Charts of the sweep's trials, and one trial's page with its description opened."""
    show(driver, links["trials"], TRIAL, "curve/loss", settle=DRAWN)
    driver.save_screenshot(DOCS / "mlflow_charts.png")
    show(driver, links["table"], TRIAL)
    page = driver.find_element("link text", TRIAL).get_attribute("href")
    show(driver, f"{str(page).partition('?')[0]}?workflowType=machine_learning", "Show more")
    driver.find_element("xpath", "//button[contains(., 'Show more')]").click()
    time.sleep(1)
    driver.save_screenshot(DOCS / "mlflow_trial.png")


def _run(*overrides: str) -> dict[str, Any]:
    """Run a sweep; return the JSON that it prints at its end."""
    command = [sys.executable, "-m", "sweeps", "run", *overrides, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _figure(config_hash: str) -> str:
    """A trial's figure among its artifacts."""
    client = MlflowClient(f"sqlite:///{OUTPUT}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    query = f"tags.`sweeps.config_hash` = '{config_hash}'"
    (run,) = client.search_runs([experiment.experiment_id], query)
    return str(client.download_artifacts(run.info.run_id, "theory_vs_measurement.png"))


if __name__ == "__main__":
    main()
