"""Cost of a GD step of the engine, relative to its floor and to TorchDEQ at equal weights.

    python -m benchmarks.engine [--json] [--data digits sphere] [--width 1024] [--samples 128]

The engine trains from initialisation at eta = 1 / lambda_max(H(0)). At some steps TorchDEQ's
solvers compute the same gradient at the same weights, one after the other in this process.
Every gradient is compared with float64. Counts are exact and repeatable; times are CPU
seconds of this process. The unit of cost is one product of W with the n samples; the floor of
a GD step is three units. A product with few live samples takes longer than their share of the
unit, so the time of a step's products as carried out is given too. The engine's time includes
update and diagnostics, that of the others the gradient only.

With ReLU, a pre-activation within the tolerance of zero may get either sign in any method. At
m 1024, n 128, tol 1e-6 this causes a gradient error of 1e-2 in about one of forty points.

With --precision mixed full and low-precision products are counted separately. A CPU emulates
the low ones: counts and errors are those of a GPU, times are not.
"""

import argparse
import itertools
import math
import statistics
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from benchmarks.peer import CONTESTANTS, Peer, Weights, exact_gradient
from benchmarks.timing import (
    Spread,
    low_products,
    product_seconds,
    products_timed,
    report,
    seconds,
    timed,
    with_goals,
)
from deq.activations.activation import Activation
from deq.activations.lookup import activation
from deq.config import (
    DiagnosticsConfig,
    ModelConfig,
    Precision,
    SolverConfig,
    TrainConfig,
    TrialConfig,
)
from deq.data import DigitsConfig, SphereConfig, load
from deq.linalg.hardware import set_threads
from deq.training.diagnostics import Spectra
from deq.training.gradient_descent import GradientDescent
from deq.training.pack import Pack

# Goals at m >= 1024, n >= 128, tol 1e-6, for a smooth and for a kinked activation.
GOALS = {
    "products per step, whole run": ("at most 3.6", "at most 7"),
    "products per step, last half": ("at most 3.6", "at most 5"),
    "time over its products', at the unit's rate": ("at most 1.25", "at most 1.25"),
    "diagnostics, share of the run": ("at most 0.05", "at most 0.05"),
    "TorchDEQ Picard, warm: times the engine's cost": ("at least 6", "at least 3"),
    "TorchDEQ Anderson, cold: times the engine's cost": ("at least 20", "at least 20"),
}
# Share of the first loss above which gradients are compared.
RESOLVED = 1e-6


@dataclass(frozen=True)
class Case:
    """A trial to train, and the number of steps at which solvers are compared."""

    activation: str
    width: int = 1024
    samples: int = 128
    inputs: int = 256
    data: str = "sphere"
    steps: int = 500
    points: int = 8
    tol: float = 1e-6
    precision: Precision = "full"
    contestants: tuple[str, ...] = tuple(CONTESTANTS)

    @property
    def title(self) -> str:
        """Description in one line."""
        return (
            f"{self.activation}, {self.data}, m {self.width}, n {self.samples}, float32, "
            f"tol {self.tol:g}, {self.precision} precision, {self.steps} steps at "
            "eta = 1/lambda_max(H)"
        )

    @property
    def trial(self) -> TrialConfig:
        """Config of the trial; eta = 0.5 in units of 2 / lambda_max(H(0))."""
        return TrialConfig(
            data=DigitsConfig(n=self.samples)
            if self.data == "digits"
            else SphereConfig(n=self.samples, d=self.inputs),
            model=ModelConfig(width=self.width, activation=self.activation),
            train=TrainConfig(steps=self.steps, loss_tol=0.0),
            solver=SolverConfig(tol=self.tol, precision=self.precision),
            diagnostics=DiagnosticsConfig(),
            dtype="float32",
        )


class Run:
    """The engine's training run, with the time of every GD step."""

    def __init__(self, case: Case) -> None:
        trial = case.trial
        data = load(trial.data)
        self.x, self.y = data.x.mT.float(), data.y.float()
        self.descent = GradientDescent([trial], [data])
        self.pack, self.run = self.descent.groups[0].pack, self.descent.runs[0]
        self.thin = self.pack.thin_products
        self.cost: list[float] = []  # CPU seconds of every GD step
        self.diagnostics: list[float] = []  # of those, the diagnostics
        self.product_seconds: list[float] = []  # of every GD step, its products
        self._steps = iter(self.descent)
        measure = self.descent.groups[0].diagnostics.measure

        def timed_measure(pack: Pack) -> Spectra:
            cost, spectra = timed(lambda: measure(pack))
            self.diagnostics.append(cost)
            return spectra

        self.descent.groups[0].diagnostics.measure = timed_measure  # type: ignore[method-assign]

    def weights(self) -> Weights:
        """Return a copy of the current weights."""
        w, p, a = (v[0].clone() for v in (self.pack.w, self.pack.p, self.pack.a))
        return Weights(w, p, a, self.x, self.y)

    def step(self) -> bool:
        """Take one GD step; return False if the trial has ended."""
        with products_timed() as spent:
            self.cost.append(seconds(lambda: next(self._steps)))
        self.product_seconds.append(sum(spent))
        return self.run.status is None

    def gradient(self) -> Tensor:
        """Return the gradient in w at the weights before the last step."""
        return (self.pack.r[0] * self.pack.e[0][:, None]).mT @ self.pack.z[0]


@dataclass
class Findings:
    """Measurements at the points of comparison."""

    unit: list[float] = field(default_factory=list)
    engine_error: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    over_products: list[float] = field(default_factory=list)
    cost: dict[str, list[float]] = field(default_factory=dict)
    error: dict[str, list[float]] = field(default_factory=dict)


def measure(case: Case) -> list[tuple[str, Any]]:
    """Train and compare; return the lines of the result."""
    run, findings, phi = Run(case), Findings(), activation(case.activation)
    peers = {
        name: Peer(solver, warm=warm, tol=case.tol, phi=phi)
        for name, (solver, warm) in CONTESTANTS.items()
        if name in case.contestants
    }
    # Ten steps of the engine about each point, spread over the run from its start.
    spacing = max(case.steps // case.points, 2)
    points = {spacing // 2 + k * spacing for k in range(case.points)}
    for step in range(case.steps + 1):
        before = run.weights() if step in points or step + 1 in points else None
        if step + 1 in points and before is not None:
            for peer in peers.values():
                if peer.warm:
                    peer.gradient(before)  # a warm start from the step before, as the engine has
        if not run.step():
            break
        if step in points and before is not None:
            _compare(run, peers, before, phi, findings)
    return _summary(case, run, findings)


def _compare(
    run: Run, peers: dict[str, Peer], at: Weights, phi: Activation, findings: Findings
) -> None:
    rows = run.run.rows
    if rows[-1]["loss"] < RESOLVED * rows[0]["loss"]:
        return  # in float32, e and every gradient are rounding here
    exact = exact_gradient(at, phi)
    unit, cost = product_seconds(at.w, run.pack.p[0]), statistics.fmean(run.cost[-10:])
    products = statistics.fmean(row["products"] for row in rows[-10:])
    findings.unit.append(unit)
    findings.engine.append(cost)
    findings.overhead.append(cost / (unit * (products + run.thin)))
    findings.over_products.append(cost / statistics.fmean(run.product_seconds[-10:]))
    findings.engine_error.append(_error(run.gradient(), exact))
    for name, peer in peers.items():
        cost, gradient = timed(partial(peer.gradient, at))
        findings.cost.setdefault(name, []).append(cost)
        findings.error.setdefault(name, []).append(_error(gradient[0], exact))


def _error(gradient: Tensor, exact: Tensor) -> float:
    return float(torch.linalg.norm(gradient.double() - exact) / torch.linalg.norm(exact))


def _summary(case: Case, run: Run, findings: Findings) -> list[tuple[str, Any]]:
    rows = run.run.rows
    products = [row["products"] for row in rows]
    low = low_products(rows)
    half = len(products) // 2
    unit = statistics.median(findings.unit) if findings.unit else math.nan
    lines: list[tuple[str, Any]] = [
        ("steps taken", len(rows)),
        ("loss, first", rows[0]["loss"]),
        ("loss, last", rows[-1]["loss"]),
        ("products per step, whole run", statistics.fmean(products)),
        ("products per step, last half", statistics.fmean(products[half:])),
        ("of these in low precision, whole run", statistics.fmean(low)),
        ("of these in low precision, last half", statistics.fmean(low[half:])),
        ("thin products per step (n x n x m), besides", run.thin),
        ("forward, whole run", statistics.fmean(row["forward_steps"] for row in rows)),
        ("adjoint, whole run", statistics.fmean(row["adjoint_steps"] for row in rows)),
        ("samples with a changed mask per step", statistics.fmean(row["flipped"] for row in rows)),
        ("one product, CPU ms", Spread.of([1e3 * u for u in findings.unit])),
        ("one GD step, CPU ms", Spread.of([1e3 * c for c in run.cost])),
        ("time over its products', at the unit's rate", Spread.of(findings.overhead)),
        ("time over its products', as carried out", Spread.of(findings.over_products)),
        ("diagnostics, share of the run", sum(run.diagnostics) / sum(run.cost)),
        (f"points compared, loss above {RESOLVED:g} of the first", len(findings.engine)),
        ("gradient error against float64", Spread.of(findings.engine_error)),
        ("gradient error against float64, worst", max(findings.engine_error, default=math.nan)),
    ]
    for name, cost in findings.cost.items():
        ratios = [c / e for c, e in zip(cost, findings.engine, strict=True)]
        lines += [
            (f"{name}: times the engine's cost", Spread.of(ratios)),
            (f"{name}: mean cost, in products", statistics.fmean(cost) / unit),
            (f"{name}: gradient error", Spread.of(findings.error[name])),
            (f"{name}: gradient error, worst", max(findings.error[name])),
        ]
    return lines


def goals(name: str) -> dict[str, str]:
    """Return the goals for an activation."""
    kinked = math.isinf(activation(name).curvature)
    return {label: both[kinked] for label, both in GOALS.items()}


def main() -> None:
    """Run the requested cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each case")
    parser.add_argument("--activation", nargs="+", default=["tanh", "relu"])
    for name in ("width", "samples", "inputs", "steps", "points"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    parser.add_argument("--data", choices=("digits", "sphere"), nargs="+", default=["digits"])
    parser.add_argument("--tol", type=float, default=Case.tol)
    parser.add_argument("--precision", choices=get_args(Precision), default=Case.precision)
    parser.add_argument("--alone", action="store_true", help="the engine only, without TorchDEQ")
    options = vars(parser.parse_args())
    as_json, alone = options.pop("json"), options.pop("alone")
    names, data = options.pop("activation"), options.pop("data")
    set_threads(1)
    for name, source in itertools.product(names, data):
        contestants = () if alone else tuple(CONTESTANTS)
        case = Case(activation=name, data=source, contestants=contestants, **options)
        report(case.title, with_goals(measure(case), goals(name)), as_json=as_json)


if __name__ == "__main__":
    main()
