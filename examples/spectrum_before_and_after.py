"""Train one DEQ, keep its weights, and compare the spectra of W before and after training.

Before training the eigenvalues of W fill a disc (the circular law) and its singular values
are at most about twice the disc's radius. Gradient descent adds a matrix of low rank.

python examples/spectrum_before_and_after.py [HYDRA OVERRIDES]
"""

import sys
from pathlib import Path

import matplotlib as mpl
import torch

import deq
import sweeps

mpl.use("agg")
from matplotlib import pyplot as plt

TRIAL = ["data.n=32", "model.width=128", "train.steps=300", "cluster=inline"]
FIGURE = Path("spectrum_before_and_after.png")


def start_of(config: deq.TrialConfig) -> torch.Tensor:
    """Draw W at step 0 again: a seed always gives the same network."""
    stream = torch.Generator().manual_seed(config.seed)
    m = config.model.width
    rows = [torch.randn(m, dtype=torch.float64, generator=stream) for _ in range(m)]
    return torch.stack(rows) * (2 * config.model.sigma_w2 / m) ** 0.5


def draw(before: torch.Tensor, after: torch.Tensor) -> None:
    """Draw eigenvalues in the complex plane, and singular values by rank."""
    figure, (plane, order) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for w, name, mark in ((before, "before", "o"), (after, "after", ".")):
        values = torch.linalg.eigvals(w)
        plane.plot(values.real, values.imag, mark, markersize=4, label=name, fillstyle="none")
        order.plot(torch.linalg.svdvals(w), mark, markersize=4, label=name, fillstyle="none")
    plane.set(title="Eigenvalues of W", xlabel="real part", ylabel="imaginary part", aspect="equal")
    order.set(title="Singular values of W", xlabel="index", ylabel="singular value")
    plane.legend()
    order.legend()
    figure.savefig(FIGURE, dpi=120)


def main(overrides: list[str]) -> None:
    """Train, load the weights, print and draw the spectra."""
    done = sweeps.launch([*TRIAL, "record.weights=true", *overrides])
    digest = done.plan.trials[0].config_hash
    output = next((o.partition("=")[2] for o in overrides if o.startswith("paths.output=")), None)
    model = sweeps.load_trial(digest, output=output)
    before, after = start_of(model.config), model.w.double()
    draw(before, after)
    singular = torch.linalg.svdvals(after - before)
    large = int((singular > 1e-3 * singular[0]).sum())
    for name, w in (("before", before), ("after", after)):
        radius = float(torch.linalg.eigvals(w).abs().max())
        norm = float(torch.linalg.matrix_norm(w, 2))
        print(f"{name:>6}: spectral radius {radius:.4f}, ||W||_2 {norm:.4f}")
    print(f"of {len(singular)} singular values of the change, {large} are above 1e-3 of the first")
    print(f"figure: {FIGURE}")


if __name__ == "__main__":
    main(sys.argv[1:])
