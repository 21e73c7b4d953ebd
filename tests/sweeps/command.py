"""The `sweeps` command as its users run it, and what it left in MLflow."""

import contextlib
import importlib
import io
import os
import signal
import socket
import subprocess
import sys
import warnings
from unittest import mock

from changes import QUICK, ROOT, SCRATCH, changed
from mlflow import MlflowClient

from sweeps import tracking  # noqa: F401 - its settings of MLflow stand before `inside` changes any
from sweeps.cli import main
from sweeps.cli.signals import SIGNALS

SMALL = ["data.n=8", "train.steps=30", "model.width=16"]
OTHERS = ("SWEEPS_", "MLFLOW_", "RAY_", "MPLCONFIGDIR")  # the last one is set by `style`
ENV = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
ENV |= {"PYTHONWARNINGS": "ignore", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}


class Running(subprocess.Popen):
    """A command that does not outlive a test that has failed."""

    def __exit__(self, kind, error, trace):
        if kind:
            self.kill()
        super().__exit__(kind, error, trace)


def started(*words, cwd, full=False, **env):
    """The command, running; see `inside` for `full`."""
    if not full and "PYTHONPATH" not in env:
        env |= changed(SCRATCH / "quick")
    return Running(
        [sys.executable, "-m", "sweeps", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=ENV | env,
        preexec_fn=_heeds_interrupts,
    )


def _heeds_interrupts():
    """Whatever started the tests may ignore SIGINT, as a shell's background jobs do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def sweeps(*words, cwd, full=False, **env):
    """The command, run to its end: returncode, stdout, stderr."""
    with started(*words, cwd=cwd, full=full, **env) as process:
        try:
            stdout, stderr = process.communicate(timeout=280)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


@contextlib.contextmanager
def quick():
    """Make the changes of changes.QUICK in this process."""
    with contextlib.ExitStack() as stack:
        for name, code in QUICK.items():
            module = importlib.import_module(name)
            names = dict(vars(module))
            exec(code, names)  # noqa: S102 - of changes.py
            new = {k: v for k, v in names.items() if vars(module).get(k) is not v}
            stack.enter_context(mock.patch.multiple(module, create=True, **new))
        yield


def inside(*words, cwd, full=False, **env):
    """Run a command in the test's own process, which has done the slow imports already.

    For commands that start no Ray, where the process itself is not what is tested.

    Args:
        full: draw the figures and run MLflow's migrations, where these are tested.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    code = 0
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SWEEPS_", "MLFLOW_TRACKING"))}
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, kept | ENV | env, clear=True),
        mock.patch.object(sys, "argv", ["sweeps", *words]),
        mock.patch.object(sys, "path", [*sys.path]),
        contextlib.nullcontext() if full else quick(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        warnings.simplefilter("ignore")
        handlers = {s: signal.getsignal(s) for s in SIGNALS}
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())


def client(output):
    """MLflow's client on the embedded store of an output root."""
    return MlflowClient(f"sqlite:///{output}/mlflow/mlflow.db")


def runs(api, study="default"):
    """The parent runs and the trial runs of a study."""
    recorded = api.search_runs([api.get_experiment_by_name(study).experiment_id])
    parents = [r for r in recorded if r.data.tags["sweeps.kind"] == "sweep"]
    return parents, [r for r in recorded if r.data.tags["sweeps.kind"] == "trial"]


def assert_complete(api, count, study="default"):
    """Assert that every trial has one run, FINISHED, with each of its points once."""
    parents, trials = runs(api, study)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert [run.info.status for run in trials] == ["FINISHED"] * count
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == count
    for run in trials:
        steps = [point.step for point in api.get_metric_history(run.info.run_id, "train/loss")]
        assert steps == sorted(set(steps))
        assert steps[0] == 0
        assert len(steps) > 20
        assert "rate/measured" in run.data.metrics


def unused_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
