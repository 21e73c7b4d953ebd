"""CPU time of short commands, relative to that of the imports that they need.

A command and the imports run alternately, each in a process of its own. Quick commands are
compared with the import of the libraries that read a configuration, a trivial sweep with the
import of those that train and record.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread, report, with_goals

TINY = ["data.n=8", "model.width=16", "train.steps=20", "cluster=inline"]
QUICK_FLOOR = "import hydra, pydantic, click"
RUN_FLOOR = "import hydra, pydantic, click, torch, mlflow.store.tracking.sqlalchemy_store"
GOALS = dict.fromkeys(
    ("--help", "show", "show --hash", "status", "run --dry-run", "cite", "diff"), "at most 4"
)
ROOT = Path(__file__).parent.parent


def cpu_seconds(command: Sequence[str], output: str) -> float:
    """Run a command; return the CPU seconds of it and its children.

    Raises:
        CalledProcessError: the command failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"SWEEPS_OUTPUT": output, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=env, check=True, capture_output=True, cwd=output)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(words: Sequence[str], floor: str, output: str, repeats: int) -> Spread:
    """Return the CPU time of a sweeps command over that of its imports."""
    command, imports = [sys.executable, "-m", "sweeps", *words], [sys.executable, "-c", floor]
    return Spread.of(
        [cpu_seconds(command, output) / cpu_seconds(imports, output) for _ in range(repeats)]
    )


def quick(output: str, repeats: int) -> list[tuple[str, Any]]:
    """Measure commands that only read, on an output root with two trials."""
    cpu_seconds([sys.executable, "-m", "sweeps", "run", "seed=0,1", *TINY], output)
    sweep = next((Path(output) / "sweeps").iterdir()).name
    hashes = subprocess.run(
        [sys.executable, "-m", "sweeps", "show", "--hash", "seed=0,1", *TINY],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
        cwd=output,
    ).stdout.split()
    commands = {
        "--help": ["--help"],
        "show": ["show", *TINY],
        "show --hash": ["show", "--hash", *TINY],
        "status": ["status"],
        "run --dry-run": ["run", "--dry-run", *TINY],
        "cite": ["cite", sweep],
        "diff": ["diff", *(digest[:12] for digest in hashes)],
    }
    return [(name, ratio(words, QUICK_FLOOR, output, repeats)) for name, words in commands.items()]


def trivial(output: str, repeats: int) -> list[tuple[str, Any]]:
    """Measure a sweep of one tiny trial in a new output root."""
    ratios = []
    for i in range(repeats):
        root = Path(output) / f"new{i}"
        root.mkdir()
        floor = cpu_seconds([sys.executable, "-c", RUN_FLOOR], str(root))
        ours = cpu_seconds([sys.executable, "-m", "sweeps", "run", *TINY], str(root))
        ratios.append(ours / floor)
    return [("a tiny sweep in a new root", Spread.of(ratios))]


def main() -> None:
    """Measure both kinds of command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each kind")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for title, measure, goals in (
        (f"CPU time over that of `{QUICK_FLOOR}`", quick, GOALS),
        (f"CPU time over that of `{RUN_FLOOR}`", trivial, {}),
    ):
        with tempfile.TemporaryDirectory() as output:
            lines = measure(output, options.repeats)
            report(title, with_goals(lines, goals), as_json=options.json)


if __name__ == "__main__":
    main()
