"""Run every study at laptop size and keep its figure: `make studies` (some minutes).

What is finished is not trained again. The studies that download their data are left out.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "studies"
OUTPUT = Path("outputs")
STUDIES = {
    "width_scaling": "width_scaling",
    "rate_vs_bound": "rates",
    "activations": "activations",
    "stability": "stability",
    "frontier_eta": "frontier",
    "width_frontier": "frontier",
    "momentum": "rates",
    "batch_size": "rates",
    "sigma_w": "sigma_w",
    "output_scale": "output_scale",
    "theorem": "rates",
    "global_convergence": "convergence",
    "conservation": "conservation",
    "depth_width": "depth_width",
    "single_index": "single_index",
    "high_dimension": "high_dimension",
    "generalisation": "generalisation",
    "ling_fig1_synthetic": "curves",
    "truong_fig1_synthetic": "curves",
}
# The study that trains nothing.
DEPTH = ["theory", "--depth", "20", "model.activation=relu,tanh", "model.width=512", "data.n=32"]
DEPTH.append("--figure")


def main() -> None:
    """Write docs/studies/*.png."""
    FOLDER.mkdir(exist_ok=True)
    for study, figure in STUDIES.items():
        command = [sys.executable, "-m", "sweeps", "run", f"experiment={study}", "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        sweep = json.loads(done.stdout)["sweep"]
        shutil.copy(OUTPUT / "sweeps" / sweep / f"{figure}.png", FOLDER / f"{study}.png")
    subprocess.run([sys.executable, "-m", "sweeps", *DEPTH, f"{FOLDER / 'depth.png'}"], check=True)


if __name__ == "__main__":
    main()
