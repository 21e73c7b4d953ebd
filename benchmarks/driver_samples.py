"""Runs the command `sweeps run` in a process of its own, and samples its driver."""

import contextlib
import math
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Seconds between two samples of a driver.
EVERY = 0.25
# Clock ticks per second and bytes per page, the units of /proc.
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
# File with a command's output.
OUTPUT = "output.txt"


@dataclass(frozen=True)
class Sample:
    """A measurement of a running driver.

    Attributes:
        at: seconds of wall time.
        cpu: CPU seconds used by the driver so far.
        all_cpu: CPU seconds of all its processes, Ray's workers and services included.
        memory: the driver's resident memory in MB.
        sent: number of trials sent to MLflow.
    """

    at: float
    cpu: float
    all_cpu: float
    memory: float
    sent: int


@contextlib.contextmanager
def sweep(folder: Path, overrides: list[str], *flags: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the command; its output goes to the file OUTPUT.

    Raises:
        RuntimeError: the command failed.
    """
    with (
        (folder / OUTPUT).open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "sweeps", "run", *flags, *overrides],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        ) as process,
    ):
        yield process
    if process.returncode:
        raise RuntimeError((folder / OUTPUT).read_text()[-2000:])


def seconds(folder: Path, overrides: list[str], *flags: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a command, imports included."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with sweep(folder, overrides, *flags):
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def sampled(folder: Path, overrides: list[str]) -> list[Sample]:
    """Run a sweep to its end; return samples of its driver."""
    samples: list[Sample] = []
    spent: dict[int, float] = {}
    with sweep(folder, overrides) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError, KeyError, ValueError, sqlite3.Error):
                sent = sent_trials(folder / "outputs" / "ledger.db")
                usage = _process_usage(process.pid, spent)
                samples.append(Sample(time.perf_counter(), *usage, sent))
            time.sleep(EVERY)
    return samples


def _process_usage(pid: int, spent: dict[int, float]) -> tuple[float, float, float]:
    """Return CPU seconds of a process, of it with its descendants, and its resident MB.

    `spent` keeps the CPU seconds of descendants that have ended since.

    Raises:
        OSError, KeyError, ValueError: the process has ended.
    """
    parents, cpu = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has just ended
            numbers = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(numbers[1])
            cpu[int(stat.parent.name)] = (int(numbers[11]) + int(numbers[12])) / TICKS
    family = {pid}
    while grown := {p for p, parent in parents.items() if parent in family} - family:
        family |= grown
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    if not resident:
        raise ValueError("the process has ended")
    spent |= {p: cpu[p] for p in family}
    return cpu[pid], sum(spent.values()), resident * PAGE / 1e6


def sent_trials(ledger: Path) -> int:
    """Return the number of trials that the ledger marks as sent to MLflow."""
    if not ledger.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        (count,) = db.execute("SELECT count(*) FROM outbox WHERE run_id IS NOT NULL").fetchone()
    return int(count)


def at(samples: list[Sample], sent: int) -> Sample:
    """Return the first sample with this many trials sent."""
    return next(sample for sample in samples if sample.sent >= sent)


def rate(samples: list[Sample]) -> float:
    """Return trials per second, from the first sample with any sent to the first with all."""
    first, last = at(samples, 1), at(samples, samples[-1].sent)
    return _ratio(last.sent - first.sent, last.at - first.at)


def cpu_each(samples: list[Sample], first: int, last: int) -> float:
    """Return the driver's CPU milliseconds per trial between two counts."""
    a, b = at(samples, first), at(samples, last)
    return 1e3 * _ratio(b.cpu - a.cpu, b.sent - a.sent)


def all_cpu_each(samples: list[Sample], first: int, last: int) -> float:
    """Return the CPU milliseconds per trial of all processes between two counts."""
    a, b = at(samples, first), at(samples, last)
    return 1e3 * _ratio(b.all_cpu - a.all_cpu, b.sent - a.sent)


def _ratio(amount: float, of: float) -> float:
    """Return a ratio; NaN if two counts of a small sweep were reached in one sample."""
    return amount / of if of else math.nan
