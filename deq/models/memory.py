"""What a trial needs of a machine, and how many fit in one pack."""

import math

from deq.activations.properties import has_kink
from deq.config import BYTES, TrialConfig
from deq.solvers.sizes import PREDICTION_DEPTH as DEPTH
from deq.solvers.sizes import TENSORS

# Tensors of P's size at the peak of a GD step: P, Z, D, R, three buffers of the solver and
# two temporaries, and what the two predictors hold.
WORKING = 9
SMOOTH, KINKED = 2 * (1 + DEPTH), 2 * (2 + 2 * DEPTH)
# On a GPU the equilibria's buffers and the adjoints' are held at once.
AHEAD = 3
# With solver.precision=mixed: the last argument of a map, and what is made of it on a CPU.
MIXED = 3
# Vectors of length m of the diagnostics: Lanczos' and the rows of a gradient.
VECTORS = 330
# n x n matrices in float64 at the peak of the diagnostics.
SQUARES = 10
# Trials of this many weights and more gain nothing from a pack on a CPU (benchmarks.packing).
CPU_WIDTH, CPU_PACK = 128, 16
# A GPU is full with so many output tiles of 128 x 128 for each of its multiprocessors.
TILE, TILES = 128, 2


def memory(config: TrialConfig, d: int, n: int, device: str = "cpu") -> int:
    """Bytes that one trial holds at its peak: one W and some (m, n) tensors.

    While the weights are drawn, U (m, d) is held as well, until P = U X is known. Each
    trial of a pack needs as much again. The libraries themselves and the allocator's slack
    are not counted: at m 8000 the process grew by 3 (tanh) and 11 percent (ReLU) more.
    """
    m, size = config.model.width, BYTES[config.dtype]
    tensors = WORKING + (KINKED if has_kink(config.model.activation) else SMOOTH)
    tensors += TENSORS[config.solver.name]
    tensors += AHEAD if device.startswith("cuda") else 0
    tensors += MIXED if config.solver.precision == "mixed" else 0
    training = size * m * (n * tensors + VECTORS) + 8 * n * n * SQUARES
    drawing = size * (m * d + m * n + d * n) + 8 * d * n
    peak = size * m * m + max(training, drawing)
    if config.dtype == "float32" and config.solver.finish == "float64":
        # The end, twice as large, beside what is handed over to it.
        return 2 * (size * m * m + training) + peak
    return peak


def pack_size(config: TrialConfig, d: int, n: int, device: str = "cpu") -> int:
    """How many trials of this shape to train in one pack.

    On a CPU 16 up to width 128, where steps are too small to be worth their overhead, else
    1: measured (`python -m benchmarks.packing`). On a GPU as many as fill its
    multiprocessors with the tiles of one product, and as fit half of its free memory; this
    rule has not been measured yet.
    """
    m = config.model.width
    if not device.startswith("cuda"):
        return CPU_PACK if m <= CPU_WIDTH else 1
    import torch

    wanted = TILES * torch.cuda.get_device_properties(device).multi_processor_count
    filling = math.ceil(wanted / (math.ceil(m / TILE) * math.ceil(n / TILE)))
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(filling, int(free // 2 // memory(config, d, n, device))))
