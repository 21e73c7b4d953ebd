"""deploy/slurm/: sweeps on a SLURM of two nodes, both of them this machine."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command import ENV, ROOT, assert_complete, client, runs
from documents import steps
from services import until

DEPLOY = ROOT / "deploy" / "slurm"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
MISSING = [t for t in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(t, path=PATH)]

pytestmark = [
    pytest.mark.services,
    pytest.mark.slurm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"no {', '.join(MISSING)} (Debian: apt-get install --no-install-recommends "
        "slurmctld slurmd slurm-client munge)",
    ),
]

# Sleeps, so that a sweep lasts as long on a busy machine, and leaves the CPUs to others.
SLOW = """import time

import torch

import deq


def curve(z):
    if z.dim() > 1:
        time.sleep(0.005)
    return torch.sin(z)


slow = deq.Activation("slow", curve, torch.cos, 1.0, 1.0, 0.0, True)
"""
PAGE = [step.text for step in steps((ROOT / "docs/how-to/cluster.md").read_text())]
(EXPORT,) = [line for line in PAGE if line.startswith("export SWEEP_HOST")]
ONE_MACHINE = dict(word.split("=", 1) for word in shlex.split(EXPORT)[1:])
WORDS = [
    "model.activation=slow:slow",
    "data.n=8",
    "model.width=16",
    "train.loss_tol=0",
    "train.eta=0.01",
]
WORDS += ["diagnostics.every=50", "checkpoint.every_seconds=1", "seed=0,1", "pack=1"]


class Slurm:
    """A SLURM that runs while this object is open, and the jobs that it was given."""

    def __init__(self, folder):
        self.folder = folder
        # Ray's sockets need a short path.
        self.scratch = tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True)
        self.env = ENV | ONE_MACHINE | {"PATH": PATH, "TMPDIR": self.scratch.name}
        self.process = subprocess.Popen(
            [DEPLOY / "slurm-here.sh", "sh", "-c", 'echo "$SLURM_CONF"; cat'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        self.env["SLURM_CONF"] = self.process.stdout.readline().strip()
        (folder / "slow.py").write_text(SLOW)

    def close(self):
        """End SLURM with its jobs."""
        self.process.communicate()
        self.scratch.cleanup()

    def __call__(self, *words):
        """A command of SLURM; what it printed."""
        done = subprocess.run(
            words, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def sweep(self, *words, options=()):
        """A job that runs a sweep; its number."""
        file = [*options, "--output=%j.out", str(DEPLOY / "sweep.sbatch")]
        return self("sbatch", "--parsable", "--cpus-per-task=1", *file, *WORDS, *words)

    def job(self, number):
        """A job as SLURM sees it: values by name."""
        return dict(re.findall(r"(\w+)=(\S*)", self("scontrol", "show", "job", "-o", number)))

    def log(self, number):
        """Output of the job until now."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{number}.out").read_text()
        return ""

    def ended(self, number):
        """The state that a job ends in; one that is requeued has not ended."""
        going_on = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
        until(lambda: self.job(number)["JobState"] not in going_on, 200, f"{self.log(number)}")
        return self.job(number)["JobState"]

    def trains(self, number):
        """Wait until a job has written a checkpoint."""
        folder = self.folder / "outputs"
        until(lambda: [*folder.glob("checkpoints/*/*")], 150, "a checkpoint")


@pytest.fixture
def slurm(tmp_path):
    """A SLURM of this test alone."""
    made = Slurm(tmp_path)
    yield made
    made.close()


def assert_trained(folder, steps):
    """Assert that both trials are recorded once, with each of their steps once, up to the last."""
    api = client(folder / "outputs")
    assert_complete(api, 2)
    for run in runs(api)[1]:
        assert api.get_metric_history(run.info.run_id, "train/loss")[-1].step == steps


def test_a_cancelled_sweep_ends_in_seconds_and_completes_later_on_two_nodes(slurm, tmp_path):
    first = slurm.sweep("train.steps=600")
    slurm.trains(first)
    # Ray makes its own folder writable for everyone: its parent is private.
    (scratch,) = Path(slurm.scratch.name).glob("ray-*")
    assert scratch.stat().st_mode & 0o777 == 0o700
    slurm("scancel", first)
    assert slurm.ended(first) == "CANCELLED"
    log = slurm.log(first)
    assert "ended from outside" in log
    # It was not killed. 1: Ray's own process on the node died first, which ends a driver at once.
    assert re.search(r"sweeps ended with (130|1)\b", log), log
    assert "Traceback" not in log
    second = slurm.sweep("train.steps=600")
    assert slurm.ended(second) == "COMPLETED", slurm.log(second)
    assert "2 nodes at" in slurm.log(second)
    assert "goes on from step" in slurm.log(second)
    assert_trained(tmp_path, 600)


def test_a_sweep_is_requeued_at_its_time_limit_until_it_is_complete(slurm, tmp_path):
    # SLURM looks at limits every 30 s: it sends the signal 28 s after the first start, and 47 s
    # after the second. 3500 steps take 55 s at least.
    limit = ["--time=1", "--signal=B:USR1@10"]
    number = slurm.sweep("train.steps=3500", options=limit)
    until(lambda: slurm.job(number)["Restarts"] == "2", 170, slurm.log(number))
    slurm("scontrol", "update", f"JobId={number}", "TimeLimit=10")
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    log = slurm.log(number)
    assert len(re.findall("the time limit is near", log)) >= 2
    assert "goes on from step" in log
    assert "Traceback" not in log
    assert_trained(tmp_path, 3500)


def test_a_sweep_whose_node_fails_is_requeued_and_goes_on(slurm, tmp_path):
    """The node comes back by itself, as after a reboot."""
    number = slurm.sweep("train.steps=600")
    slurm.trains(number)
    slurm("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test")
    until(lambda: slurm.job(number)["JobState"] == "PENDING", 60, "the job is back in the queue")
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert slurm.job(number)["Restarts"] == "1"
    assert "goes on from step" in slurm.log(number)
    assert_trained(tmp_path, 600)


def test_the_pages_sweep_on_two_nodes_of_this_machine(tmp_path):
    """SLURM is started, used and ended by the page's one command."""
    (line,) = [line for line in PAGE if line.startswith("deploy/slurm/slurm-here.sh")]
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as scratch:
        done = subprocess.run(
            shlex.split(line.replace("deploy/slurm", str(DEPLOY))),
            cwd=tmp_path,
            env=ENV | ONE_MACHINE | {"PATH": PATH, "TMPDIR": scratch},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not [*Path(scratch).glob("ray-*")]
    output = (tmp_path / "slurm-1.out").read_text()
    assert done.returncode == 0, done.stderr + output
    assert "2 nodes at" in output
    assert_trained(tmp_path, 20)


def test_slurm_accepts_the_pages_jobs_and_schedules_their_gpus(slurm):
    lines = [shlex.split(line) for line in PAGE if line.startswith("sbatch ")]
    assert len(lines) >= 3
    for _, *words in lines:
        slurm("sbatch", "--test-only", *(w.replace("deploy/slurm", str(DEPLOY)) for w in words))
    step = "srun --nodes=1 --ntasks=1 printenv SLURM_GPUS_ON_NODE"  # as sweep.sbatch starts Ray
    words = ["--nodes=2", "--gpus-per-node=2", "--output=%j.out", f"--wrap={step}"]
    number = slurm("sbatch", "--wait", "--parsable", *words)
    assert slurm.job(number)["TresPerNode"] == "gres:gpu:2"
    assert slurm.log(number).strip() == "2"
    with pytest.raises(AssertionError, match="not available"):
        slurm("sbatch", "--test-only", "--gpus-per-node=3", "--wrap=true")


def test_the_token_is_in_no_argument():
    text = (DEPLOY / "sweep.sbatch").read_text()
    assert "RAY_AUTH_MODE=token" in text
    assert not re.search(r"\$\{?RAY_AUTH_TOKEN", text)
