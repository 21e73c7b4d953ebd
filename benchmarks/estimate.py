"""Estimated products of both integrators over those that runs took.

    python -m benchmarks.estimate [--json] [--quick]

The runs that `deq.integrator_cost` was fitted to (digits, float64, the default step size and
tolerances), and others: other variances, step sizes, tolerances and widths; then those with a
kink. --quick: tanh only, at m 256, n 64 and at most 1000 steps. Forty minutes on one core
without it; --kinked, only those with a kink, takes ten.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import Any

from benchmarks.timing import report
from deq.config import DiagnosticsConfig, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, load
from deq.linalg.hardware import set_threads
from deq.training.gradient_descent import GradientDescent
from deq.training.integrator_cost import integrator_cost

NAMES = ("tanh", "softplus", "sigmoid", "gelu", "sin", "gaussian")
SIZES = ((128, 32), (256, 32), (256, 64), (512, 64))
STEPS = (100, 300, 1000, 3000, 10_000, 30_000)


def trial(
    name: str,
    width: int,
    n: int,
    steps: int,
    *,
    windows: bool = True,
    tol: float = 1e-6,
    solver_tol: float = 1e-8,
    sigma_w2: float = 0.08,
    eta: float = 0.5,
) -> TrialConfig:
    """A trial on digits, measured seldom, which changes no products."""
    train = TrainConfig(steps, eta)
    if windows:
        train = TrainConfig(steps, eta, integrator="windows", integrator_tol=tol)
    return TrialConfig(
        data=DigitsConfig(n=n),
        model=ModelConfig(width, name, sigma_w2),
        train=train,
        solver=SolverConfig(tol=solver_tol),
        diagnostics=DiagnosticsConfig(every=100),
    )


def fitted() -> Iterator[TrialConfig]:
    """Runs that the windows' estimate was fitted to, and some by single steps."""
    for (width, n), name in product(SIZES, NAMES):
        yield from (trial(name, width, n, steps) for steps in STEPS)
        yield trial(name, width, n, 300, windows=False)
        if width < SIZES[-1][0]:
            yield trial(name, width, n, 2000, windows=False)


def others() -> Iterator[TrialConfig]:
    """Runs that it was not fitted to."""
    for name, steps in product(("tanh", "softplus"), (300, 3000)):
        for sigma_w2 in (0.02, 0.12):
            yield trial(name, 256, 64, steps, sigma_w2=sigma_w2)
        for eta in (0.1, 0.9):
            yield trial(name, 256, 64, steps, eta=eta)
        for tol in (1e-4, 1e-5, 1e-8):
            yield trial(name, 256 if name == "tanh" else 512, 64, steps, tol=tol)
    for steps in (300, 3000):
        yield trial("tanh", 512, 64, steps, solver_tol=1e-6)
        yield trial("tanh", 1024, 64, steps)
        yield trial("silu", 1024, 128, steps)
    for name in ("tanh", "softplus"):
        yield from (trial(name, 256, 64, 1000, windows=False, eta=eta) for eta in (0.1, 0.9))


def kinked() -> Iterator[TrialConfig]:
    """Runs of activations with a kink, with what the estimate depends on varied."""
    for (width, n), name, windows in product(SIZES, ("relu", "leaky_relu"), (True, False)):
        for steps in STEPS[:4] if width < SIZES[-1][0] else STEPS[:3]:
            yield trial(name, width, n, steps, windows=windows, tol=1e-4)
    for (width, n), windows in product(SIZES[::2], (True, False)):
        for steps in (300, 1000):
            for solver_tol in (1e-4, 1e-6, 1e-10):
                yield trial(
                    "relu", width, n, steps, windows=windows, tol=1e-4, solver_tol=solver_tol
                )
            for sigma_w2 in (0.02, 0.12):
                yield trial("relu", width, n, steps, windows=windows, tol=1e-4, sigma_w2=sigma_w2)
            yield trial("relu", width, n, steps, windows=windows, tol=1e-4, eta=0.1)


def ratio(config: TrialConfig) -> float:
    """Estimated over taken products, of the steps that were taken before it converged."""
    descent = GradientDescent([config], [load(config.data)])
    for _ in descent:
        pass
    (run,) = descent.runs
    steps = max(len(run.rows) - 1, 1)
    taken = TrainConfig(steps, integrator_tol=config.train.integrator_tol, integrator="windows")
    plain = TrialConfig(config.data, config.model, taken, config.solver)
    guess = integrator_cost(plain, run.dataset.y.shape[0])
    expected = guess.steps if config.train.integrator == "steps" else guess.windows
    assert expected is not None, "windows can be used in all of them"
    return expected / run.products


def main() -> None:
    """Run both sets and print the range of the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each set")
    parser.add_argument(
        "--quick", action="store_true", help="tanh, m 256, n 64, at most 1000 steps"
    )
    parser.add_argument("--kinked", action="store_true", help="activations with a kink only")
    options = parser.parse_args()
    set_threads(1)
    smooth = [("runs that it was fitted to", fitted()), ("others", others())]
    for title, configs in [*(smooth if not options.kinked else []), ("with a kink", kinked())]:
        ratios: dict[str, list[float]] = {}
        for config in configs:
            if options.quick and not _quick(config):
                continue
            ratios.setdefault(config.train.integrator, []).append(ratio(config))
        lines: list[tuple[str, Any]] = []
        for integrator, values in ratios.items():
            lines.append((f"{integrator}: runs", len(values)))
            lines.append((f"{integrator}: least estimated over taken products", min(values)))
            lines.append((f"{integrator}: greatest", max(values)))
        report(title, lines, as_json=options.json)


def _quick(config: TrialConfig) -> bool:
    model, data, steps = config.model, config.data, config.train.steps
    return (model.activation, model.width, data.n) == ("tanh", 256, 64) and steps <= 1000


if __name__ == "__main__":
    main()
