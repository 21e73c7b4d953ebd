"""A sweep from a script: measured over linearised rate against the width, as a table.

Run it by `python examples/width_sweep.py [hydra overrides]`, those of `sweeps run`. The
second time it trains nothing.
"""

import sys

import sweeps

AXES = ["model.activation=tanh", "model.width=32,64,128", "seed=range(0,3)"]
TRIAL = ["study=example", "data=sphere", "data.n=16", "data.d=8", "train.steps=200"]


def main() -> None:
    """Plan, launch, load, compare."""
    overrides = [*TRIAL, *AXES, *sys.argv[1:]]
    print(f"{sweeps.plan(overrides).left} trials to train")
    done = sweeps.launch(overrides)
    output = next((word[13:] for word in overrides if word.startswith("paths.output=")), None)
    table = sweeps.load(done.plan.sweep, output=output)
    ratio = table.groupby("model.width")["rate/measured_over_linearized"]
    print(ratio.agg(["mean", "std", "count"]).to_string(float_format="{:.3f}".format))
    print(f"in MLflow: {done.links['trials']}")


if __name__ == "__main__":
    main()
