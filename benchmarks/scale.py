"""Cost of a sweep of thousands of trivial trials, with goals.

    python -m benchmarks.scale [--json] [--trials 10000] [--sample 320] [--peer 16] [--repeats 3]
    python -m benchmarks.scale --nodes 20 [--trials 10000]

Every figure is measured on the command `sweeps run` in a process of its own: its plan
(`--dry-run`), the whole path (trained by Ray Tune, stored in the ledger, sent to MLflow,
reported), and the same command again. Progress is the number of trials that the ledger marks
as sent to MLflow; memory and CPU time are the driver's, from /proc. Alternately with a smaller
sweep, Ray Tune records trials of the same kind with its own MLflow callback.

With --nodes the large sweep trains on a simulated Ray cluster instead: so many nodes of one CPU
each, all of them processes of this machine.
"""

import argparse
import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.driver_samples import (
    OUTPUT,
    ROOT,
    Sample,
    all_cpu_each,
    at,
    cpu_each,
    rate,
    sampled,
    seconds,
    sent_trials,
)
from benchmarks.simulated_cluster import simulated_cluster
from benchmarks.timing import Spread, report, with_goals

# Goals by figure.
GOALS = {
    "planning, s": "under 10",
    "launched again, all reused, s": "under 20",
    "whole path, trials a second": "at least 20",
    "times Tune with its MLflow callback": "at least 10",
    "driver memory grown, MB": "within 200",
    "driver CPU a trial, last over first": "about 1",
}


@dataclass(frozen=True)
class Case:
    """Sizes of the benchmark; all trials are trivial and have one shape.

    Attributes:
        trials: number of trials of the large sweep.
        sample: number of trials of the sweep that alternates with the peer.
        peer: number of trials of the peer.
        repeats: number of repeats.
        width, samples, steps: of each trial.
        keep: folder in which the large sweep is kept; a complete one is not trained again.
        nodes: number of nodes of the simulated cluster; 0: no cluster.
    """

    trials: int = 10_000
    sample: int = 320
    peer: int = 16
    repeats: int = 3
    width: int = 8
    samples: int = 4
    steps: int = 5
    keep: Path | None = None
    nodes: int = 0

    def overrides(self, count: int) -> list[str]:
        """Return the overrides of this many trials."""
        shape = [f"model.width={self.width}", f"data.n={self.samples}", f"train.steps={self.steps}"]
        shape += ["data=sphere", f"diagnostics.every={self.steps}"]
        return [f"seed=range(0,{count})", *shape]


def peer(overrides: list[str], *flags: str) -> float:
    """Return trials per second of Tune with its own callback, from first to last recorded."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.tune_peer", folder, *flags, *overrides],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer["rate"]


def turns(case: Case) -> list[tuple[str, Any]]:
    """Measure a smaller sweep and the peer alternately."""
    ours, lean, full = [], [], []
    for _ in range(case.repeats):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(rate(sampled(Path(folder), case.overrides(case.sample))))
        lean.append(peer(case.overrides(case.peer)))
        full.append(peer(case.overrides(case.peer), "--steps-too"))
    ratios = [[a / b for a, b in zip(ours, theirs, strict=True)] for theirs in (full, lean)]
    return [
        (f"whole path, {case.sample} trials, trials a second", Spread.of(ours)),
        ("Tune with its MLflow callback, the same numbers", Spread.of(full)),
        ("Tune with its MLflow callback, summaries only", Spread.of(lean)),
        ("times Tune with its MLflow callback", Spread.of(ratios[0])),
        ("times Tune's callback with summaries only", Spread.of(ratios[1])),
    ]


def large(case: Case) -> list[tuple[str, Any]]:
    """Measure the large sweep: plan, run unless it is complete, launch again, open its pages."""
    if case.keep is None:
        with tempfile.TemporaryDirectory() as folder:
            return _large(case, Path(folder))
    case.keep.mkdir(parents=True, exist_ok=True)
    return _large(case, case.keep.resolve())


def _large(case: Case, folder: Path) -> list[tuple[str, Any]]:
    overrides, n = case.overrides(case.trials), case.trials
    planning = [seconds(folder, overrides, "--dry-run") for _ in range(case.repeats)]
    trained = []
    if sent_trials(folder / "outputs" / "ledger.db") < n:
        trained = _trained(sampled(folder, overrides), n)
    again = [seconds(folder, overrides) for _ in range(case.repeats)]
    output = (folder / OUTPUT).read_text()
    if f"nothing to do, all {n} trials finished before" not in output:
        raise RuntimeError(output[-2000:])
    return [
        ("planning, s", Spread.of([wall for wall, _ in planning])),
        ("planning, CPU s", Spread.of([cpu for _, cpu in planning])),
        *trained,
        ("launched again, all reused, s", Spread.of([wall for wall, _ in again])),
        ("launched again, CPU s", Spread.of([cpu for _, cpu in again])),
        *pages(folder, n, output),
    ]


def _trained(samples: list[Sample], n: int) -> list[tuple[str, Any]]:
    """Return the figures of the large sweep's samples."""
    if samples[-1].sent != n:
        raise RuntimeError(f"{samples[-1].sent} of {n} trials were sent")
    tenth, first = n // 10, max(1, n // 100)
    early, late = cpu_each(samples, first, tenth), cpu_each(samples, n - tenth, n)
    return [
        ("whole path, trials a second", rate(samples)),
        ("whole path, from start to end, s", samples[-1].at - samples[0].at),
        (f"driver memory at {first} trials, MB", at(samples, first).memory),
        (f"driver memory at {n} trials, MB", at(samples, n).memory),
        ("driver memory grown, MB", at(samples, n).memory - at(samples, first).memory),
        ("driver memory at most, report included, MB", max(sample.memory for sample in samples)),
        (f"driver CPU a trial, {first} to {tenth}, ms", early),
        (f"driver CPU a trial, the last {tenth}, ms", late),
        ("driver CPU a trial, last over first", late / early),
        ("CPU a trial, all processes, ms", all_cpu_each(samples, first, n)),
    ]


def cluster(case: Case) -> list[tuple[str, Any]]:
    """Measure the large sweep on a simulated cluster."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, simulated_cluster(case.nodes) as address:
        ready = time.perf_counter() - started
        there = ["cluster=ray", f"cluster.address={address}"]
        samples = sampled(Path(folder), [*case.overrides(case.trials), *there])
        rows = mlflow_rows(Path(folder) / "outputs")
    if samples[-1].sent != case.trials:
        raise RuntimeError(f"{samples[-1].sent} of {case.trials} trials were sent")
    first = max(1, case.trials // 10)
    each = rows / case.trials
    return [
        (f"cluster of {case.nodes} nodes ready, s", ready),
        (f"whole path, {case.trials} trials, trials a second", rate(samples)),
        ("whole path, from start to end, s", samples[-1].at - samples[0].at),
        (
            f"driver CPU a trial, {first} to {case.trials}, ms",
            cpu_each(samples, first, case.trials),
        ),
        (f"driver memory at {first} trials, MB", at(samples, first).memory),
        (f"driver memory at {case.trials} trials, MB", at(samples, case.trials).memory),
        ("rows of a trial in MLflow's database", each),
        ("rows written to MLflow's database a second", each * rate(samples)),
    ]


def mlflow_rows(output: Path) -> int:
    """Return the number of rows of runs, tags, params and metrics in an embedded store."""
    tables = ("runs", "tags", "params", "metrics", "latest_metrics")
    with contextlib.closing(sqlite3.connect(output / "mlflow" / "mlflow.db")) as db:
        counts = [f"SELECT count(*) FROM {table}" for table in tables]  # noqa: S608
        return sum(db.execute(count).fetchone()[0] for count in counts)


def pages(folder: Path, trials: int, output: str) -> list[tuple[str, Any]]:
    """Measure seconds until a browser shows the sweep's table of trials and its own page."""
    try:
        from docs.browser import browser, missing, served, show
    except ImportError as error:
        return [("MLflow's pages", f"not measured: {error}")]
    if why := missing():
        return [("MLflow's pages", f"not measured: {why}")]
    links = re.findall(r"(http://127.0.0.1:5000\S+)  \(the (\w+)\)", output)
    wanted = {"trials": ("seed=0", "matching runs"), "sweep": (f"{trials} trials",)}
    lines: list[tuple[str, Any]] = []
    with served(folder / "outputs", _port()) as address, browser() as driver:
        for link, name in links:
            started = time.perf_counter()
            show(driver, link.replace("http://127.0.0.1:5000", address), *wanted[name], settle=0)
            lines.append((f"MLflow's page of the {name}, s", time.perf_counter() - started))
    return lines


def _port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine() -> str:
    """Return the number of cores and the current load."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} of one minute"


def main() -> None:
    """Measure the requested parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each part")
    parser.add_argument("--nodes", type=int, default=0, help="measure a simulated cluster only")
    for name in ("trials", "sample", "peer", "repeats", "width", "samples", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    parser.add_argument("--keep", type=Path, help="keep the large sweep here, or reuse it")
    parts = {"turns": turns, "large": large}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    options = vars(parser.parse_args())
    as_json, chosen = options.pop("json"), options.pop("parts")
    case = Case(**options)
    for measure in [cluster] if case.nodes else [parts[name] for name in chosen]:
        before = machine()
        title = f"{measure.__name__}: m {case.width}, n {case.samples}, {case.steps} steps"
        lines = [("machine before", before), *measure(case), ("machine after", machine())]
        report(title, with_goals(lines, GOALS), as_json=as_json)


if __name__ == "__main__":
    main()
