"""A sweep from a script: a table of measured over linearised rate by width.

python examples/width_sweep.py [HYDRA OVERRIDES]

A second run reuses the results and trains nothing.
"""

import sys

import sweeps

AXES = ["model.activation=tanh", "model.width=32,64,128", "seed=range(0,3)"]
TRIAL = ["study=example", "data=sphere", "data.n=16", "data.d=8", "train.steps=200"]


def main() -> None:
    """Plan, launch and load a sweep; print the table."""
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
