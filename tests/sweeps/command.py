"""The `sweeps` command as its users run it, and what it left in MLflow."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

SMALL = ["data.n=8", "train.steps=30", "model.width=16"]
ROOT = Path(__file__).parents[2]
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SWEEPS_", "MLFLOW_TRACKING"))}
ENV |= {"PYTHONWARNINGS": "ignore", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}


def started(*words, cwd, **env):
    """The command, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=ENV | env,
        preexec_fn=_heeds_interrupts,  # noqa: PLW1509
    )


def _heeds_interrupts():
    """Whatever started the tests may ignore SIGINT, as a shell's background jobs do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def sweeps(*words, cwd, **env):
    """The command, run to its end: returncode, stdout, stderr."""
    with started(*words, cwd=cwd, **env) as process:
        try:
            stdout, stderr = process.communicate(timeout=280)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def client(output):
    """MLflow's client on the embedded store of an output root."""
    return MlflowClient(f"sqlite:///{output}/mlflow/mlflow.db")


def runs(api, study="default"):
    """The parent runs and the trial runs of a study."""
    found = api.search_runs([api.get_experiment_by_name(study).experiment_id])
    parents = [r for r in found if r.data.tags["sweeps.kind"] == "sweep"]
    return parents, [r for r in found if r.data.tags["sweeps.kind"] == "trial"]


def unused_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
