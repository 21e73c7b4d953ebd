"""CPU time, medians with their spread, and how a result is printed."""

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
    """CPU seconds of this process that a task takes, and its result.

    A busy neighbour does not count, but for the caches it shares.
    """
    started = time.process_time()
    result = task()
    return time.process_time() - started, result


def seconds(task: Callable[[], Any]) -> float:
    """CPU seconds of this process that a task takes."""
    return timed(task)[0]


def wall_seconds(task: Callable[[], Any], device: str) -> float:
    """Wall seconds up to the end of the device's work; CPU seconds on a CPU."""
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
        """Of some values; NaN of none."""
        if not values:
            return cls(math.nan, math.nan, math.nan)
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.low:.4g} to {self.high:.4g})"


def product_seconds(w: Tensor, z: Tensor, repeats: int = 5) -> float:
    """CPU seconds of one product of w (m, m) with n rows z (n, m): the unit of cost."""
    out = torch.empty_like(z)
    torch.mm(z, w.mT, out=out)
    return statistics.median(seconds(lambda: torch.mm(z, w.mT, out=out)) for _ in range(repeats))


@contextlib.contextmanager
def products_timed() -> Iterator[list[float]]:
    """CPU seconds of every product that a pack takes meanwhile (bmm, baddbmm, baddbmm_)."""
    spent: list[float] = []

    def watched(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            cost, result = timed(lambda: product(*args, **kwargs))
            spent.append(cost)
            return result

        return call

    with contextlib.ExitStack() as patches:
        for owner, name in ((torch, "bmm"), (torch, "baddbmm"), (Tensor, "baddbmm_")):
            changed = patch.object(owner, name, watched(getattr(owner, name)))
            patches.enter_context(changed)
        yield spent


def low_products(rows: Sequence[dict[str, float]]) -> list[float]:
    """Of every GD step's products those in low precision; none where precision is full."""
    counts = (row["forward_low"] + row["adjoint_low"] for row in rows)
    return [0.0 if math.isnan(count) else count for count in counts]


def with_goals(lines: Sequence[tuple[str, Any]], goals: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Lines whose names say their goals, where they have one."""
    return [(f"{name} (goal: {goals[name]})" if name in goals else name, v) for name, v in lines]


def report(title: str, lines: Sequence[tuple[str, Any]], *, as_json: bool) -> None:
    """One result: a JSON object on a line, or a title and its lines."""
    if as_json:
        plain = {name: vars(v) if isinstance(v, Spread) else v for name, v in lines}
        print(json.dumps({"title": title} | plain), flush=True)
        return
    print(f"\n{title}")
    for name, value in lines:
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"  {name:<44} {shown}", flush=True)
