"""Cost of a GD step at the sizes of a laptop, over that of its products.

    python -m benchmarks.small [--json] [--samples 64] [--steps 400]

Blocks of GD steps and blocks of single products take turns in one process, so that the ratio
does not depend on how fast the machine is meanwhile. Each line is a pack of trials of one
activation and width on the digits, tol 1e-6, one thread, diagnostics at their default cadence.
A step's products are those of its trajectory, plus the thin ones (n x n with n x m) at n / m.
Operations are calls of torch's kernels, views included, counted apart from the times.
"""

import argparse
import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.timing import Spread, report, seconds, with_goals
from deq.config import DiagnosticsConfig, Dtype, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, load
from deq.linalg.hardware import set_threads
from deq.training.gradient_descent import GradientDescent

# GD steps before the first block, for predictions to have a history, and those of a block.
FIRST, BLOCK = 50, 40
RATIO = "time over its products'"


@dataclass(frozen=True)
class Case:
    """A pack of trials that differ in their seeds, and the goal of its ratio."""

    activation: str
    width: int
    dtype: Dtype
    pack: int
    goal: float

    @property
    def title(self) -> str:
        """Description in one line."""
        return f"{self.activation}, m {self.width}, {self.dtype}, pack of {self.pack}"

    def descent(self, samples: int) -> GradientDescent:
        """Return the descent of the pack, without a limit of steps."""
        trials = [
            TrialConfig(
                data=DigitsConfig(n=samples),
                model=ModelConfig(width=self.width, activation=self.activation),
                train=TrainConfig(steps=10**6, loss_tol=0.0),
                solver=SolverConfig(tol=1e-6),
                diagnostics=DiagnosticsConfig(),
                dtype=self.dtype,
                seed=seed,
            )
            for seed in range(self.pack)
        ]
        return GradientDescent(trials, [load(trials[0].data)] * self.pack)


CASES = [
    *(
        Case(*c, "float64", p, 2.5)
        for c in itertools.product(("tanh", "relu"), (128, 256))
        for p in (1, 8)
    ),
    Case("tanh", 1024, "float32", 1, 1.25),
]


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of torch within its context."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation and carry it out."""
        self.count += 1
        return func(*args, **(kwargs or {}))


def measure(case: Case, samples: int, steps: int) -> list[tuple[str, Any]]:
    """Train a pack and measure its products by turns; return the lines of the result."""
    descent = case.descent(samples)
    taken, pack = iter(descent), descent.groups[0].pack
    _take(taken, FIRST)
    units, costs, products, ratios = [], [], [], []
    for _ in range(steps // BLOCK):
        unit = _product_seconds(pack.w, pack.p)
        costs.append(seconds(lambda: _take(taken, BLOCK)) / BLOCK)
        units.append((unit + _product_seconds(pack.w, pack.p)) / 2)
        rows = [row for run in descent.runs for row in run.rows[-BLOCK:]]
        products.append(statistics.fmean(row["products"] for row in rows) + pack.thin_products)
        ratios.append(costs[-1] / (units[-1] * products[-1]))
    with Operations() as operations:  # type: ignore[no-untyped-call]
        _take(taken, BLOCK)
    return [
        ("one product, CPU us", Spread.of([1e6 * u for u in units])),
        ("one GD step, CPU us", Spread.of([1e6 * c for c in costs])),
        ("its products, thin ones included", statistics.fmean(products)),
        (RATIO, Spread.of(ratios)),
        ("torch operations a GD step", operations.count / BLOCK),
    ]


def _take(steps: Iterator[int], count: int) -> None:
    for _ in range(count):
        next(steps)


def _product_seconds(w: Tensor, z: Tensor) -> float:
    """CPU seconds of one product of the pack's w (B, m, m) with its z (B, n, m)."""
    out = torch.empty_like(z)

    def block() -> None:
        for _ in range(BLOCK):
            torch.bmm(z, w.mT, out=out)

    return seconds(block) / BLOCK


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each case")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    set_threads(1)
    for case in CASES:
        lines = measure(case, options.samples, options.steps)
        goals = {RATIO: f"at most {case.goal:g}"}
        report(case.title, with_goals(lines, goals), as_json=options.json)


if __name__ == "__main__":
    main()
