"""The examples run from the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def example(name, *words, cwd):
    """Run an example in an empty folder; return its output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_deq(tmp_path):
    lines = example("one_deq.py", cwd=tmp_path).splitlines()
    rates = {line.split(":")[0].strip(): float(line.split()[-3]) for line in lines[2:-1]}
    assert rates["bound"] < rates["asymptotic"] < rates["measured"]
    assert rates["measured"] == pytest.approx(rates["linearized"], rel=0.3)
    assert not list(tmp_path.iterdir())  # nothing is written


def test_width_sweep(tmp_path):
    words = ("cluster=inline", "model.width=16,32")
    first = example("width_sweep.py", *words, cwd=tmp_path)
    assert first.startswith("6 trials to train")
    widths = {line.split()[0]: line.split()[-1] for line in first.splitlines()[3:5]}
    assert widths == {"16": "3", "32": "3"}
    second = example("width_sweep.py", *words, cwd=tmp_path)
    assert second.startswith("0 trials to train")
    assert second.splitlines()[1:] == first.splitlines()[1:]


def test_spectrum_before_and_after(tmp_path):
    words = ("data.n=8", "model.width=32", "train.steps=40")
    lines = example("spectrum_before_and_after.py", *words, cwd=tmp_path).splitlines()
    before, after = (float(line.split()[-1]) for line in lines[:2])
    assert 0.2 < before < 1  # the bulk's edge is 2 sqrt(2 sigma_w2) = 0.8 at large width
    assert after != before
    rank = int(lines[2].split("change, ")[1].split()[0])
    assert 1 <= rank < 32
    assert (tmp_path / "spectrum_before_and_after.png").read_bytes().startswith(b"\x89PNG")
