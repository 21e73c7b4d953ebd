"""Memory of a trial, and the number of trials in a pack."""

import math

from deq.activations.properties import has_kink
from deq.config import BYTES, TrialConfig
from deq.solvers.sizes import PREDICTION_DEPTH as DEPTH
from deq.solvers.sizes import TENSORS

# Tensors (n, m) at the peak of a GD step: P, Z, D, R, three buffers of the solver, two
# temporaries; and those of the two predictors.
WORKING = 9
SMOOTH, KINKED = 2 * (1 + DEPTH), 2 * (2 + 2 * DEPTH)
# On a GPU the adjoints have buffers of their own.
AHEAD = 3
# With solver.precision=mixed: the last argument of a map and its rounded copies.
MIXED = 3
# With train.integrator=windows, five nodes: their states, the polynomials before, images, and
# inner products. Counted in the code; the process was not measured.
WINDOWS, WINDOW_SQUARES = 60, 120
# With a kink as well: responses of ten monitored entries a sample, and sixteen matrices of
# samples and entries (switching.PARTS). Counted too.
ENTRIES, ENTRY_SQUARES = 30, 16 * 121
# With data.test_n: tensors of all samples while their fixed points are solved from cold starts.
HELD_OUT = 8
# With diagnostics.depth: tensors (m, n) of a cold solve and of the layers.
DEPTH_TENSORS = 8
# Vectors of length m in the diagnostics: those of Lanczos and rows of a gradient.
VECTORS = 330
# n x n matrices in float64 at the peak of the diagnostics.
SQUARES = 10
# Greatest width at which a pack is faster on a CPU, and its size (benchmarks.packing).
CPU_WIDTH, CPU_PACK = 128, 16
# Output tiles of 128 x 128 per multiprocessor that keep a GPU busy.
TILE, TILES = 128, 2


def memory(config: TrialConfig, d: int, n: int, device: str = "cpu") -> int:
    """Return the bytes that one trial holds at its peak: one W and some (m, n) tensors.

    U (m, d) is held only until P = U X is computed. A pack of B trials needs B times this.
    Libraries and the allocator's slack are not counted: at m 8000 the process grew by 3
    percent (tanh) and 11 percent (ReLU) more.

    Args:
        config: the trial.
        d: input size.
        n: number of samples.
        device: cpu, cuda, cuda:1.
    """
    m, size = config.model.width, BYTES[config.dtype]
    tensors = WORKING + (KINKED if has_kink(config.model.activation) else SMOOTH)
    tensors += TENSORS[config.solver.name]
    tensors += AHEAD if device.startswith("cuda") else 0
    tensors += MIXED if config.solver.precision == "mixed" else 0
    windows = config.train.integrator == "windows"
    tensors += WINDOWS if windows else 0
    squares = SQUARES + (WINDOW_SQUARES if windows else 0)
    if windows and has_kink(config.model.activation):
        tensors, squares = tensors + ENTRIES, squares + ENTRY_SQUARES
    training = size * m * (n * tensors + VECTORS) + 8 * n * n * squares
    held_out = config.data.test_n
    if held_out:  # a cold solve of all samples, its prediction, and U
        training += size * m * (HELD_OUT * (n + held_out) + d) + 8 * 2 * (n + held_out) ** 2
    if config.diagnostics.depth and not device.startswith("cuda"):  # the first W, in float64 too
        training += 8 * m * (m + d + DEPTH_TENSORS * n) + (size * m * m if size < 8 else 0)
    drawing = size * (m * d + m * n + d * n) + 8 * d * n
    if config.train.momentum:  # the velocity of W, and of P
        training += size * m * (m + n)
    peak = size * m * m + max(training, drawing)
    if config.dtype == "float32" and config.solver.finish == "float64":
        # The float64 pack is twice as large, and exists beside the float32 one for a moment.
        return 2 * (size * m * m + training) + peak
    return peak


def pack_size(config: TrialConfig, d: int, n: int, device: str = "cpu", share: float = 1.0) -> int:
    """Return the number of trials of this shape to train in one pack.

    On a CPU 16 up to width 128, where a step's overhead exceeds its work, else 1; measured
    by `python -m benchmarks.packing`. On a GPU as many as fill its multiprocessors with the
    tiles of one product, within half of the memory that is free on its share of the GPU; this
    rule is not measured yet.

    Args:
        config: the trial.
        d: input size.
        n: number of samples.
        device: cpu, cuda, cuda:1.
        share: part of a GPU that the pack gets, up to 1; other packs get the rest.
    """
    m = config.model.width
    if not device.startswith("cuda"):
        return CPU_PACK if m <= CPU_WIDTH else 1
    import torch

    wanted = TILES * torch.cuda.get_device_properties(device).multi_processor_count
    filling = math.ceil(wanted / (math.ceil(m / TILE) * math.ceil(n / TILE)))
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(filling, int(share * free // 2 // memory(config, d, n, device))))
