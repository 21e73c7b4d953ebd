"""Ray Tune with its own MLflow callback, on the trials of a sweep; used by `benchmarks.scale`.

    python -m benchmarks.tune_peer FOLDER [--steps-too] [hydra overrides]

In its fastest mode: actors are reused, one report for each trial, no artifacts. With
`--steps-too` it records what a sweep does: each step's metrics, then the summary.
"""

import argparse
import json
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ |= {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

import ray
from mlflow import MlflowClient
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

import deq
from sweeps.config.request import request, trial_from_plain
from sweeps.metrics import COLUMNS
from sweeps.planning.plan import trials_of

# Columns of a trajectory that are also step metrics.
MEASURED = [column.name for column in COLUMNS if column.metric]


def trainable(config: dict[str, Any], plains: list[dict[str, Any]], steps_too: bool) -> None:
    """Train one trial and report it."""
    deq.set_threads(1)
    trial = trial_from_plain(plains[config["trial"]])
    for descent in deq.train_pack([trial], device="cpu"):
        run = descent.runs[0]
        if steps_too and run.rows:
            row = run.rows[-1]
            tune.report({k: row[k] for k in MEASURED if math.isfinite(row[k])})
    tune.report(deq.compare(run).summary)


class Ends(tune.Callback):  # type: ignore[misc]
    """Times at which trials were recorded; MLflow's callback runs before this one."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """Record the time."""
        self.at.append(time.perf_counter())


def main() -> None:
    """Run the trials; print trials per second from the first recorded to the last."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune_peer", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps-too", action="store_true")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    folder = options.folder.resolve()
    plains = [trial.plain for trial in trials_of(request(options.overrides))]
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=40)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ends, uri = Ends(), f"sqlite:///{folder}/mlflow.db"
    given = tune.with_parameters(trainable, plains=plains, steps_too=options.steps_too)
    tune.Tuner(
        tune.with_resources(given, {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(range(len(plains))))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="peer"), ends],
            verbose=0,
        ),
    ).fit()
    ray.shutdown()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("peer").experiment_id
    runs = client.search_runs([experiment], "attributes.status = 'FINISHED'")
    rate = (len(ends.at) - 1) / (ends.at[-1] - ends.at[0])
    print(json.dumps({"rate": rate, "recorded": len(runs)}), flush=True)


if __name__ == "__main__":
    main()
