"""Products of a whole run: windows against single steps and their floor of three a step.

    python -m benchmarks.windows [--json] [--activation tanh] [--width 512] [--samples 64]

Digits, float64, eta = 1 / lambda_max(H(0)). A product is one of W with the n samples; thin ones
(n x n with n x m) count n / m; everything is included: the start, rejected windows, the checks.
Single steps are run to --reference steps (3000) at most: for losses, time and products. The
losses of windows are compared with theirs at every step at which the loss is above 1e-12 of the
first; below, the tolerance of the reference's equilibria shows. Where TorchDEQ is installed, the
cost of one gradient by its best solver is measured at the start, and counted once a step.
Times are wall seconds, taken one after the other in this process on one thread.
"""

import argparse
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.peer import CONTESTANTS, Peer, Weights
from benchmarks.timing import product_seconds, report, seconds, with_goals
from deq.activations.lookup import activation
from deq.activations.properties import has_kink
from deq.config import KINKED_TOL, SMOOTH_TOL, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, load
from deq.linalg.hardware import set_threads
from deq.training.comparison import Outcome, train
from deq.training.gradient_descent import GradientDescent

SHARE, RATIO = (
    "products over the floor of 3 a step",
    "wall time of single steps over that of windows",
)
LOSS, RATE = "greatest relative error of the loss", "relative error of the rate"
# Goals at m 512, n 64 by (tol, steps).
GOALS = {
    (1e-6, 500): {SHARE: "at most 0.45"},
    (1e-6, 3000): {SHARE: "at most 0.11", RATIO: "at least 6"},
    (1e-6, 20000): {SHARE: "at most 0.025"},
    (1e-8, 3000): {SHARE: "at most 0.25"},
}
# The same with a kink.
KINKED_GOALS = {
    (1e-4, 500): {SHARE: "at most 0.5", LOSS: "at most 1e-4", RATE: "at most 1e-4"},
    (1e-4, 3000): {SHARE: "at most 0.14", LOSS: "at most 1e-3", RATE: "at most 1e-4"},
}
TOTAL = "solver/products_total"
# Losses are compared where they are above this share of the first.
RESOLVED = 1e-12


@dataclass(frozen=True)
class Case:
    """One trial to measure: activation, size, number of steps, tolerance."""

    activation: str
    tol: float = 1e-6
    steps: int = 3000
    width: int = 512
    samples: int = 64
    reference: int = 3000

    @property
    def title(self) -> str:
        """The case in a line."""
        return (
            f"{self.activation}, digits, m {self.width}, n {self.samples}, float64, "
            f"{self.steps} steps, integrator_tol {self.tol:g}"
        )

    @property
    def windows(self) -> TrialConfig:
        """The trial in windows; single steps at a tolerance of 1e-6, or that of the windows."""
        return TrialConfig(
            data=DigitsConfig(n=self.samples),
            model=ModelConfig(width=self.width, activation=self.activation),
            train=TrainConfig(self.steps, integrator="windows", integrator_tol=self.tol),
            solver=SolverConfig(tol=min(self.tol, 1e-6)),
        )

    @property
    def single(self) -> TrialConfig:
        """Config of single steps, for at most the steps that the benchmark runs."""
        train = TrainConfig(min(self.steps, self.reference))
        return replace(self.windows, train=train)

    @property
    def exact(self) -> TrialConfig:
        """Config of single steps with equilibria solved to 1e-12, the reference of the loss."""
        return replace(self.single, solver=SolverConfig(tol=1e-12))


def measure(case: Case) -> list[tuple[str, Any]]:
    """Train in windows and by single steps, and compare."""
    windows, seconds_windows = _timed(case.windows)
    single, seconds_single = _timed(case.single)
    taken = len(windows.trajectory["step"]) - 1
    products, reached = windows.summary[TOTAL], len(single.trajectory["step"]) - 1
    exact = train(case.exact)
    lines: list[tuple[str, Any]] = [
        ("steps taken", taken),
        ("status", windows.status.value),
        ("products", products),
        (SHARE, products / (3 * taken)),
        ("products of single steps, to --reference", single.summary[TOTAL]),
        ("loss, last over first", _ratio(windows)),
        (LOSS, _error(windows, exact)),
        (RATE, _rate_error(windows, exact)),
        ("greatest deviation that the checks found", windows.summary.get("solver/window_check")),
        ("wall seconds", seconds_windows),
        (RATIO, seconds_single / reached * taken / seconds_windows),
    ]
    peer = _peer(case)
    if not math.isnan(peer):
        lines.append(("TorchDEQ's best, products a gradient", peer))
        lines.append(("TorchDEQ's best, products of the run over ours", peer * taken / products))
    return lines


def _timed(config: TrialConfig) -> tuple[Outcome, float]:
    started = time.perf_counter()
    outcome = train(config)
    return outcome, time.perf_counter() - started


def _ratio(outcome: Outcome) -> float:
    loss = outcome.trajectory["loss"]
    return float(loss[-1] / loss[0])


def _error(windows: Outcome, exact: Outcome) -> float:
    ours, right = windows.trajectory["loss"], exact.trajectory["loss"]
    count = min(len(ours), len(right))
    resolved = right[:count] > RESOLVED * right[0]
    return float((ours[:count] / right[:count] - 1).abs()[resolved].max())


def _rate_error(windows: Outcome, exact: Outcome) -> float:
    """Relative deviation of the rate; NaN unless both were run to the same step."""
    ours, right = (o.summary.get("rate/measured", math.nan) for o in (windows, exact))
    same = len(windows.trajectory["step"]) == len(exact.trajectory["step"])
    return abs(ours / right - 1) if same else math.nan


def _peer(case: Case) -> float:
    """Cost of a gradient by TorchDEQ's best solver, in products; NaN where it is not installed."""
    data, phi = load(case.windows.data), activation(case.activation)
    pack = GradientDescent([case.single], [data]).groups[0].pack
    at = Weights(pack.w[0], pack.p[0], pack.a[0], data.x.mT, data.y)
    unit, costs = product_seconds(at.w, at.p), []
    for solver, warm in CONTESTANTS.values():
        try:
            peer = Peer(solver, warm=warm, tol=1e-6, phi=phi)
        except ImportError:
            return math.nan
        peer.gradient(at)
        costs.append(min(seconds(partial(peer.gradient, at)) for _ in range(3)))
    return min(costs) / unit


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.windows", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each case")
    parser.add_argument("--activation", nargs="+", default=["tanh", "softplus"])
    for name in ("width", "samples", "reference"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    parser.add_argument("--steps", type=int, help="one length only; default: those of the goals")
    parser.add_argument("--tol", type=float, help="with --steps; default: 1e-6, with a kink 1e-4")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("width", "samples", "reference")}
    set_threads(1)
    for name in options.activation:
        goals = KINKED_GOALS if has_kink(name) else GOALS
        default = KINKED_TOL if has_kink(name) else SMOOTH_TOL
        one = (options.tol or default, options.steps)
        for tol, steps in [one] if options.steps else list(goals):
            case = Case(name, tol, steps, **sizes)
            numbers = with_goals(measure(case), goals.get((tol, steps), {}))
            report(case.title, numbers, as_json=options.json)


if __name__ == "__main__":
    main()
