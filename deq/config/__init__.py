"""The configuration of a trial: everything that determines its numbers, and nothing else.

These modules do not import torch, so that commands that only compose configurations are quick.
"""

from deq.config.diagnostics import MOST_LAYERS, DiagnosticsConfig
from deq.config.dtypes import BYTES, Dtype
from deq.config.model import ModelConfig
from deq.config.solver import Precision, SolverConfig
from deq.config.train import KINKED_TOL, SMOOTH_TOL, TrainConfig
from deq.config.trial import PACK_KEYS, TrialConfig

__all__ = [
    "BYTES",
    "KINKED_TOL",
    "MOST_LAYERS",
    "PACK_KEYS",
    "SMOOTH_TOL",
    "DiagnosticsConfig",
    "Dtype",
    "ModelConfig",
    "Precision",
    "SolverConfig",
    "TrainConfig",
    "TrialConfig",
]
