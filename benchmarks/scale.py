"""What a sweep of thousands of trivial trials costs, beside what it may cost.

    python -m benchmarks.scale [--json] [--trials 10000] [--sample 320] [--peer 16] [--repeats 3]

Every figure is of the command `sweeps run` as a user types it, in a process of its own:
its plan (`--dry-run`), the whole path (trained by Ray Tune, kept in the ledger, sent to
MLflow, reported), and the same command again. Progress is what the ledger says MLflow was
sent; memory and CPU time are the driver's, from /proc. By turns with a smaller sweep, Ray
Tune records trials of the same kind with its own MLflow callback.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread, report, with_goals

ROOT = Path(__file__).parents[1]
# Seconds between two looks at a driver.
EVERY = 0.25
# Of a second of CPU time, and bytes of a page of memory, as /proc counts them.
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
# What a command said.
SAID = "said.txt"
# Figures that are goals: what the figure may be at most, or must be at least.
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
    """Trivial trials, all of one shape.

    Attributes:
        trials: of the large sweep.
        sample: of the sweep that takes turns with the peer.
        peer: trials of the peer.
        repeats: turns.
        width, samples, steps: of each trial.
        keep: where the large sweep is kept; what is complete there is not trained again.
    """

    trials: int = 10_000
    sample: int = 320
    peer: int = 16
    repeats: int = 3
    width: int = 8
    samples: int = 4
    steps: int = 5
    keep: Path | None = None

    def overrides(self, count: int) -> list[str]:
        """So many trials, in Hydra's words."""
        shape = [f"model.width={self.width}", f"data.n={self.samples}", f"train.steps={self.steps}"]
        shape += ["data=sphere", f"diagnostics.every={self.steps}"]
        return [f"seed=range(0,{count})", *shape]


@dataclass(frozen=True)
class Look:
    """A driver at one moment.

    Attributes:
        at: seconds of wall time.
        cpu: CPU seconds it has used.
        all_cpu: those of all its processes, Ray's workers and services too.
        memory: MB it holds.
        sent: trials that MLflow has.
    """

    at: float
    cpu: float
    all_cpu: float
    memory: float
    sent: int


@contextlib.contextmanager
def sweep(folder: Path, overrides: list[str], *flags: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The command, running; what it says is in the file SAID. Raises when it fails."""
    with (
        (folder / SAID).open("w") as said,
        subprocess.Popen(
            [sys.executable, "-m", "sweeps", "run", *flags, *overrides],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=said,
            stderr=said,
        ) as process,
    ):
        yield process
    if process.returncode:
        raise RuntimeError((folder / SAID).read_text()[-2000:])


def seconds(folder: Path, overrides: list[str], *flags: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command, imports included."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with sweep(folder, overrides, *flags):
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def watched(folder: Path, overrides: list[str]) -> list[Look]:
    """Run a sweep to its end, looking at it; the last look is after all was sent."""
    looks: list[Look] = []
    spent: dict[int, float] = {}
    with sweep(folder, overrides) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError, KeyError, ValueError, sqlite3.Error):
                sent = _sent(folder / "outputs" / "ledger.db")
                looks.append(Look(time.perf_counter(), *_of_process(process.pid, spent), sent))
            time.sleep(EVERY)
    return looks


def _of_process(pid: int, spent: dict[int, float]) -> tuple[float, float, float]:
    """CPU seconds of a process that runs, of it and its descendants, and its resident MB.

    Those of a descendant that has ended since are kept in `spent`.

    Raises:
        OSError, KeyError, ValueError: it has ended.
    """
    parents, cpu = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            numbers = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(numbers[1])
            cpu[int(stat.parent.name)] = (int(numbers[11]) + int(numbers[12])) / TICKS
    family = {pid}
    while grown := {p for p, parent in parents.items() if parent in family} - family:
        family |= grown
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    if not resident:
        raise ValueError("it has ended, and holds nothing any more")
    spent |= {p: cpu[p] for p in family}
    return cpu[pid], sum(spent.values()), resident * PAGE / 1e6


def _sent(ledger: Path) -> int:
    """How many trials MLflow has, by the ledger."""
    if not ledger.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        (count,) = db.execute("SELECT count(*) FROM outbox WHERE run_id IS NOT NULL").fetchone()
    return int(count)


def at(looks: list[Look], sent: int) -> Look:
    """The first look that saw so many trials sent."""
    return next(look for look in looks if look.sent >= sent)


def rate(looks: list[Look]) -> float:
    """Trials a second, from the first look that saw any sent to the first that saw all."""
    first, last = at(looks, 1), at(looks, looks[-1].sent)
    return (last.sent - first.sent) / (last.at - first.at)


def cpu_each(looks: list[Look], first: int, last: int) -> float:
    """The driver's CPU milliseconds for each trial between two counts."""
    a, b = at(looks, first), at(looks, last)
    return 1e3 * (b.cpu - a.cpu) / (b.sent - a.sent)


def all_cpu_each(looks: list[Look], first: int, last: int) -> float:
    """The same of all its processes: of two cores with nothing else to do, what they need."""
    a, b = at(looks, first), at(looks, last)
    return 1e3 * (b.all_cpu - a.all_cpu) / (b.sent - a.sent)


def peer(overrides: list[str], *flags: str) -> float:
    """Trials a second of Tune with its own callback, from the first recorded to the last."""
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
    """A smaller sweep and the peer, by turns."""
    ours, lean, full = [], [], []
    for _ in range(case.repeats):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(rate(watched(Path(folder), case.overrides(case.sample))))
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
    """The large sweep: planned, run unless that was done before, launched again, looked at."""
    if case.keep is None:
        with tempfile.TemporaryDirectory() as folder:
            return _large(case, Path(folder))
    case.keep.mkdir(parents=True, exist_ok=True)
    return _large(case, case.keep.resolve())


def _large(case: Case, folder: Path) -> list[tuple[str, Any]]:
    overrides, n = case.overrides(case.trials), case.trials
    planning = [seconds(folder, overrides, "--dry-run") for _ in range(case.repeats)]
    trained = []
    if _sent(folder / "outputs" / "ledger.db") < n:
        trained = _trained(watched(folder, overrides), n)
    again = [seconds(folder, overrides) for _ in range(case.repeats)]
    said = (folder / SAID).read_text()
    if f"nothing to do, all {n} trials finished before" not in said:
        raise RuntimeError(said[-2000:])
    return [
        ("planning, s", Spread.of([wall for wall, _ in planning])),
        ("planning, CPU s", Spread.of([cpu for _, cpu in planning])),
        *trained,
        ("launched again, all reused, s", Spread.of([wall for wall, _ in again])),
        ("launched again, CPU s", Spread.of([cpu for _, cpu in again])),
        *pages(folder, n, said),
    ]


def _trained(looks: list[Look], n: int) -> list[tuple[str, Any]]:
    """What the looks at the large sweep say."""
    if looks[-1].sent != n:
        raise RuntimeError(f"{looks[-1].sent} of {n} trials were sent")
    tenth, first = n // 10, max(1, n // 100)
    early, late = cpu_each(looks, first, tenth), cpu_each(looks, n - tenth, n)
    return [
        ("whole path, trials a second", rate(looks)),
        ("whole path, from start to end, s", looks[-1].at - looks[0].at),
        (f"driver memory at {first} trials, MB", at(looks, first).memory),
        (f"driver memory at {n} trials, MB", at(looks, n).memory),
        ("driver memory grown, MB", at(looks, n).memory - at(looks, first).memory),
        ("driver memory at most, report included, MB", max(look.memory for look in looks)),
        (f"driver CPU a trial, {first} to {tenth}, ms", early),
        (f"driver CPU a trial, the last {tenth}, ms", late),
        ("driver CPU a trial, last over first", late / early),
        ("CPU a trial, all processes, ms", all_cpu_each(looks, first, n)),
    ]


def pages(folder: Path, trials: int, said: str) -> list[tuple[str, Any]]:
    """Seconds until a browser shows the sweep's table of trials, and its own page."""
    try:
        from docs.browser import browser, missing, served, show
    except ImportError as error:
        return [("MLflow's pages", f"not measured: {error}")]
    if why := missing():
        return [("MLflow's pages", f"not measured: {why}")]
    links = re.findall(r"(http://127.0.0.1:5000\S+)  \(the (\w+)\)", said)
    wanted = {"trials": ("seed=0", "matching runs"), "sweep": (f"{trials} trials",)}
    found: list[tuple[str, Any]] = []
    with served(folder / "outputs", _port()) as address, browser() as driver:
        for link, name in links:
            started = time.perf_counter()
            show(driver, link.replace("http://127.0.0.1:5000", address), *wanted[name], settle=0)
            found.append((f"MLflow's page of the {name}, s", time.perf_counter() - started))
    return found


def _port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine() -> str:
    """Cores, and how busy the machine is at this moment."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} of one minute"


def main() -> None:
    """Measure all parts, the small ones first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each part")
    for name in ("trials", "sample", "peer", "repeats", "width", "samples", "steps"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    parser.add_argument("--keep", type=Path, help="keep the large sweep here, or look at it again")
    parts = {"turns": turns, "large": large}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    options = vars(parser.parse_args())
    as_json, chosen = options.pop("json"), options.pop("parts")
    case = Case(**options)
    for measure in (parts[name] for name in chosen):
        before = machine()
        title = f"{measure.__name__}: m {case.width}, n {case.samples}, {case.steps} steps"
        lines = [("machine before", before), *measure(case), ("machine after", machine())]
        report(title, with_goals(lines, GOALS), as_json=as_json)


if __name__ == "__main__":
    main()
