"""Renew the README's pictures: `make pictures` (needs Debian's chromium and chromium-driver).

Trains the quickstart sweep where it is not finished, opens its pages in a browser and
copies the figure of one trial.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from docs.browser import browser, missing, served, show

DOCS = Path(__file__).parent
OUTPUT = Path("outputs")
PORT = 5000
TRIAL = "width=512 tanh seed=0"


def main() -> None:
    """Write docs/*.png."""
    if missing():
        sys.exit(f"pictures: {missing()}: apt-get install chromium chromium-driver")
    command = [sys.executable, "-m", "sweeps", "run", "experiment=quickstart", "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    sweep = json.loads(done.stdout)
    with served(OUTPUT, PORT), browser() as driver:
        show(driver, sweep["links"]["trials"], TRIAL, "rate/measured")
        driver.save_screenshot(DOCS / "mlflow_trials.png")
    (config_hash,) = [t["config_hash"] for t in sweep["trials"] if t["trial"] == TRIAL]
    shutil.copy(_figure(config_hash), DOCS / "theory_vs_measurement.png")


def _figure(config_hash: str) -> str:
    """A trial's figure among its artifacts."""
    client = MlflowClient(f"sqlite:///{OUTPUT}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    query = f"tags.`sweeps.config_hash` = '{config_hash}'"
    (run,) = client.search_runs([experiment.experiment_id], query)
    return str(client.download_artifacts(run.info.run_id, "theory_vs_measurement.png"))


if __name__ == "__main__":
    main()
