"""CPU and wall time, medians with quartiles, and printing of results."""

import contextlib
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor

T = TypeVar("T")


def timed(task: Callable[[], T]) -> tuple[float, T]:
    """Run a task; return the CPU seconds of this process that it took, and its result.

    Other processes hardly matter, except through shared caches.
    """
    started = time.process_time()
    result = task()
    return time.process_time() - started, result


def seconds(task: Callable[[], Any]) -> float:
    """Run a task; return the CPU seconds of this process that it took."""
    return timed(task)[0]


def wall_seconds(task: Callable[[], Any], device: str) -> float:
    """Run a task; return wall seconds until the GPU has finished, or CPU seconds on a CPU."""
    if not device.startswith("cuda"):
        return seconds(task)
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    task()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return median and quartiles of some values; NaN if there are none."""
        if not values:
            return cls(math.nan, math.nan, math.nan)
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.low:.4g} to {self.high:.4g})"


def product_seconds(w: Tensor, z: Tensor, repeats: int = 5) -> float:
    """Return the CPU seconds of one product of w (m, m) with z (n, m), the unit of cost."""
    out = torch.empty_like(z)
    torch.mm(z, w.mT, out=out)
    return statistics.median(seconds(lambda: torch.mm(z, w.mT, out=out)) for _ in range(repeats))


@contextlib.contextmanager
def products_timed() -> Iterator[list[float]]:
    """Collect the CPU seconds of every bmm, baddbmm and baddbmm_ within this context."""
    spent: list[float] = []

    def measured(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            cost, result = timed(lambda: product(*args, **kwargs))
            spent.append(cost)
            return result

        return call

    with contextlib.ExitStack() as patches:
        for owner, name in ((torch, "bmm"), (torch, "baddbmm"), (Tensor, "baddbmm_")):
            changed = patch.object(owner, name, measured(getattr(owner, name)))
            patches.enter_context(changed)
        yield spent


def low_products(rows: Sequence[dict[str, float]]) -> list[float]:
    """Return the low-precision products of every GD step; 0 if precision is full."""
    counts = (row["forward_low"] + row["adjoint_low"] for row in rows)
    return [0.0 if math.isnan(count) else count for count in counts]


def with_goals(lines: Sequence[tuple[str, Any]], goals: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Append the goal to the names of lines that have one."""
    return [(f"{name} (goal: {goals[name]})" if name in goals else name, v) for name, v in lines]


def report(title: str, lines: Sequence[tuple[str, Any]], *, as_json: bool) -> None:
    """Print a result as one line of JSON, or as a title with lines below."""
    if as_json:
        plain = {name: vars(v) if isinstance(v, Spread) else v for name, v in lines}
        print(json.dumps({"title": title} | plain), flush=True)
        return
    print(f"\n{title}")
    for name, value in lines:
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"  {name:<44} {shown}", flush=True)
