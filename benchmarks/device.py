"""The engine on one GPU: products relative to the device's peak, and the papers' full size.

    python -m benchmarks.device [--json] [--device cuda]

Wall time with the device synchronised, in float32 without TF32 except for the low-precision
products of solver.precision=mixed. It has not been run on a GPU yet; its parts are tested at
tiny sizes on a CPU.
"""

import argparse
import statistics
import sys
from contextlib import nullcontext
from typing import Any, get_args
from unittest.mock import patch

import torch

from benchmarks import packing
from benchmarks.peer import CONTESTANTS, Peer, Weights
from benchmarks.timing import Spread, low_products, report, wall_seconds, with_goals
from deq.activations.lookup import activation
from deq.config import ModelConfig, Precision, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.linalg.hardware import forbid_tf32, hardware
from deq.models.memory import memory
from deq.training import lookahead
from deq.training.gradient_descent import GradientDescent

# 1.25 times the cost of 3.6 products, the goal for a smooth activation.
GOALS = {"time over three products": "at most 1.5, smooth"}
# Width, samples, inputs; the last is the papers'.
SIZES = ((1024, 128, 256), (4096, 512, 512), (30000, 1000, 1000))


def rate(m: int, n: int, device: str, repeats: int = 10) -> float:
    """Measure floating-point operations per second of products of (m, m) with n rows."""
    w, z = torch.randn(m, m, device=device), torch.randn(n, m, device=device)
    out = torch.empty_like(z)

    def product() -> None:
        torch.mm(z, w.mT, out=out)

    product()
    times = [wall_seconds(product, device) for _ in range(repeats)]
    return 2 * m * m * n / statistics.median(times)


def trial(
    name: str, size: tuple[int, int, int], steps: int, precision: Precision = "full"
) -> TrialConfig:
    """Return a float32 trial of this size with tol 1e-6."""
    width, samples, inputs = size
    return TrialConfig(
        data=SphereConfig(n=samples, d=inputs),
        model=ModelConfig(width=width, activation=name),
        train=TrainConfig(steps=steps, loss_tol=0.0),
        solver=SolverConfig(tol=1e-6, precision=precision),
        dtype="float32",
    )


def training(
    name: str, size: tuple[int, int, int], device: str, steps: int, precision: Precision = "full"
) -> list[Any]:
    """Measure seconds, products and memory of GD steps from initialisation."""
    config = trial(name, size, steps, precision)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    run = GradientDescent([config], [load(config.data)], device)
    steps_of_run, times = iter(run), []
    m, n = size[0], size[1]
    for _ in range(steps):
        times.append(wall_seconds(lambda: next(steps_of_run), device))
    product = 2 * m * m * n / rate(m, n, device)
    rows = run.runs[0].rows
    products = statistics.fmean(row["products"] for row in rows)
    used = torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else 0
    return [
        ("one GD step, ms", Spread.of([1e3 * t for t in times])),
        ("products per step", products),
        ("of these in low precision", statistics.fmean(low_products(rows))),
        ("loss, last over first", rows[-1]["loss"] / rows[0]["loss"]),
        ("time over three products", Spread.of([t / (3 * product) for t in times])),
        ("most memory, GB", used / 1e9),
        ("deq.memory says, GB", memory(config, size[2], n, device) / 1e9),
        *torchdeq(name, config, m, device, statistics.median(times)),
    ]


def torchdeq(name: str, config: TrialConfig, m: int, device: str, engine: float) -> list[Any]:
    """Measure TorchDEQ's Picard from a cold start at the first weights; nothing for large m."""
    if m > 8192:
        return []
    data, run = load(config.data), GradientDescent([config], [load(config.data)], device)
    pack = run.groups[0].pack
    x, y = data.x.mT.float().to(device), data.y.float().to(device)
    at = Weights(pack.w[0], pack.p[0], pack.a[0], x, y)
    solver, warm = CONTESTANTS["TorchDEQ Picard, cold"]
    peer = Peer(solver, warm=warm, tol=config.solver.tol, phi=activation(name))
    peer.gradient(at)
    times = [wall_seconds(lambda: peer.gradient(at), device) for _ in range(5)]
    return [("TorchDEQ Picard, cold: times the engine's cost", statistics.median(times) / engine)]


def variants(name: str, width: int, device: str, steps: int, repeats: int = 3) -> list[Any]:
    """Measure a single small trial as is, without CUDA graphs, and without lookahead."""
    config, times = trial(name, (width, 128, 64), steps), dict[str, list[float]]()
    dataset = load(config.data)
    patches: dict[str, dict[str, Any]] = {
        "as is": {},
        "without CUDA graphs": {"launches_matter": lambda pack: False},
        "without lookahead": {"worthwhile": lambda pack: False},
    }
    for _ in range(repeats):
        for variant, changes in patches.items():
            with patch.multiple(lookahead, **changes) if changes else nullcontext():
                cost = wall_seconds(lambda: packing.run([config], dataset, device), device)
            times.setdefault(variant, []).append(cost)
    usual = times.pop("as is")
    return [
        ("one GD step, ms", Spread.of([1e3 * t / steps for t in usual])),
        *(
            (f"{variant}: times that", Spread.of([t / u for t, u in zip(cost, usual, strict=True)]))
            for variant, cost in times.items()
        ),
    ]


def main() -> None:
    """Measure, or exit with one line if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each case")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks.device: this machine has no CUDA device; run it on one that has")
    forbid_tf32()

    def show(title: str, lines: list[Any]) -> None:
        report(title, with_goals(lines, GOALS), as_json=options.json)

    peak = rate(8192, 8192, options.device)
    show("device", [*hardware().items(), ("float32 matrix peak, TFLOP/s", peak / 1e12)])
    for size in SIZES:
        share = rate(size[0], size[1], options.device) / peak
        show(f"one product, m {size[0]}, n {size[1]}", [("share of the peak", share)])
        for name in ("tanh", "relu"):
            what = f"{name}, m {size[0]}, n {size[1]}, d {size[2]}, float32, tol 1e-6"
            for precision in get_args(Precision):
                lines = training(name, size, options.device, options.steps, precision)
                show(f"{what}, {precision} precision", lines)
    for width in (64, 256, 1024):
        for name in ("tanh", "relu"):
            show(f"{name}, m {width}, n 128, alone", variants(name, width, options.device, 200))
        configs = packing.trials("tanh", width, 128, options.steps, 16)
        lines = packing.measure(configs, options.device, 3)
        show(f"tanh, m {width}, n 128, pack of 16, float64", lines)


if __name__ == "__main__":
    main()
