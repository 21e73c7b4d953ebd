"""Training in a pack compared with training one trial after the other.

    python -m benchmarks.packing [--json] [--width 32 64 128 256] [--pack 4 16] [--device cpu]

Both are timed alternately in one process; a ratio below 1 is a gain from packing. Losses of
both are compared. Times are CPU seconds on a CPU, wall seconds on a GPU.
"""

import argparse
from typing import Any

from benchmarks.timing import Spread, report, wall_seconds, with_goals
from deq.config import ModelConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.data.dataset import Dataset
from deq.linalg.hardware import set_threads
from deq.models.memory import pack_size
from deq.training.gradient_descent import GradientDescent

GOALS = {"packed over one after the other": "below 1 where pack_size packs"}


def trials(activation: str, width: int, samples: int, steps: int, pack: int) -> list[TrialConfig]:
    """Return trials that differ in their seeds."""
    return [
        TrialConfig(
            data=SphereConfig(n=samples, d=32),
            model=ModelConfig(width=width, activation=activation),
            train=TrainConfig(steps=steps, loss_tol=0.0),
            seed=seed,
        )
        for seed in range(pack)
    ]


def run(configs: list[TrialConfig], dataset: Dataset, device: str) -> list[float]:
    """Train trials as one pack; return their last losses."""
    descent = GradientDescent(configs, [dataset] * len(configs), device)
    for _ in descent:
        pass
    return [training_run.rows[-1]["loss"] for training_run in descent.runs]


def measure(configs: list[TrialConfig], device: str, repeats: int) -> list[tuple[str, Any]]:
    """Time the pack and the separate trials alternately."""
    dataset, ratios, alone = load(configs[0].data), [], []
    losses: dict[str, list[float]] = {}

    def packed() -> None:
        losses["packed"] = run(configs, dataset, device)

    def separate() -> None:
        losses["separate"] = [run([config], dataset, device)[0] for config in configs]

    for _ in range(repeats):
        pack_time, separate_time = wall_seconds(packed, device), wall_seconds(separate, device)
        ratios.append(pack_time / separate_time)
        alone.append(1e3 * separate_time / (len(configs) * configs[0].train.steps))
    pairs = zip(losses["packed"], losses["separate"], strict=True)
    differences = [abs(p / q - 1) for p, q in pairs]
    return [
        ("packed over one after the other", Spread.of(ratios)),
        ("one trial's GD step alone, ms", Spread.of(alone)),
        ("losses differ by, relative", max(differences)),
        ("pack_size chooses", pack_size(configs[0], 32, configs[0].data.n or 0, device)),
    ]


def main() -> None:
    """Run the requested shapes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object for each shape")
    parser.add_argument("--activation", nargs="+", default=["tanh", "relu"])
    parser.add_argument("--width", nargs="+", type=int, default=[32, 64, 128, 256])
    parser.add_argument("--samples", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--pack", nargs="+", type=int, default=[4, 16])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    set_threads(1)
    for activation in options.activation:
        for width in options.width:
            for samples in options.samples:
                for pack in options.pack:
                    configs = trials(activation, width, samples, options.steps, pack)
                    title = f"{activation}, m {width}, n {samples}, pack of {pack}, float64"
                    lines = measure(configs, options.device, options.repeats)
                    report(title, with_goals(lines, GOALS), as_json=options.json)


if __name__ == "__main__":
    main()
